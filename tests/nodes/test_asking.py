# SPDX-License-Identifier: Apache-2.0
"""A question is put until it is answered, even if those who were asked went away with it."""

from rclpy.node import Node
from std_srvs.srv import SetBool

from samg_ros.ros import service_calls
from samg_ros.ros.service_calls import GIVE_UP_S, MEND_FIRST, NOT_ENABLED, PolicyEnabler


def serve(node, answers):
    def answer(request, response):
        response.success, response.message = answers.pop(0)
        return response

    return node.create_service(SetBool, 'arm_policy/enable', answer)


def test_a_refusal_is_kept_and_the_question_put_again(graph):
    answers = [(False, 'no good frame yet'), (True, 'acting')]
    service = serve(graph.probe, answers)
    enabling = PolicyEnabler(graph.probe, 'arm_policy')
    graph.until(lambda: enabling.answer.text == 'no good frame yet')
    assert not enabling.enabled
    graph.until(lambda: enabling.enabled)
    assert enabling.answer.text == 'acting' and not answers
    graph.probe.destroy_service(service)


def test_a_node_that_went_away_with_the_question_is_not_waited_for(graph):
    deaf = Node('deaf', context=graph.probe.context)  # never spun, so it never answers
    serve(deaf, [])
    enabling = PolicyEnabler(graph.probe, 'arm_policy')
    graph.until(lambda: enabling._asking._future is not None)
    deaf.destroy_node()
    service = serve(graph.probe, [(True, 'acting')])
    graph.until(lambda: enabling.enabled, GIVE_UP_S + 10)
    graph.probe.destroy_service(service)


def test_a_problem_that_stays_is_no_longer_asked_about(graph, monkeypatch):
    monkeypatch.setattr(service_calls, 'LEASE_S', 0.5)
    service = serve(graph.probe, [(False, f'{NOT_ENABLED}no frame yet')] * 10
                    + [(False, f'{MEND_FIRST}joint states lack a')] * 1000)
    enabling = PolicyEnabler(graph.probe, 'arm_policy')
    graph.until(lambda: enabling.answer.text.startswith(NOT_ENABLED))
    assert not enabling.answer.is_final
    graph.until(lambda: enabling.answer.text.startswith(MEND_FIRST))
    assert not enabling.answer.is_final
    graph.until(lambda: enabling.answer.is_final)
    graph.probe.destroy_service(service)
