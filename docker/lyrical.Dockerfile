# samg_ros on ROS 2 Lyrical. NOT BUILT where it was written: no access to the image's registry.
# Without the extra `simulation`: dm_control needs labmaze, which has no wheel for Python 3.14.
#
#   docker build -f docker/lyrical.Dockerfile -t samg_ros:lyrical .
#   docker run --rm -it --net=host samg_ros:lyrical ros2 launch samg_ros arm.launch.py --show-args
FROM ros:lyrical-ros-base

SHELL ["/bin/bash", "-c"]
WORKDIR /ws
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv python3-pip \
    python3-colcon-common-extensions && rm -rf /var/lib/apt/lists/*
COPY . src/samg_ros
RUN apt-get update && rosdep update --rosdistro lyrical \
    && rosdep install --from-paths src --ignore-src -y && rm -rf /var/lib/apt/lists/*
RUN src/samg_ros/scripts/ros_venv.sh .venv models
RUN source /opt/ros/lyrical/setup.bash && source .venv/bin/activate \
    && python -m colcon build
ENV MUJOCO_GL=egl
RUN echo 'source /opt/ros/lyrical/setup.bash; source /ws/.venv/bin/activate; source /ws/install/setup.bash; \
exec "$@"' > /entrypoint.sh
ENTRYPOINT ["/bin/bash", "/entrypoint.sh"]
CMD ["ros2", "run", "samg_ros", "samg", "doctor"]
