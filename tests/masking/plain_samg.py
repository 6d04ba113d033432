# SPDX-License-Identifier: Apache-2.0
"""SAM-G once more, step by step as DESIGN 4 states it: float64, one frame, no batch, no tricks.

It shares nothing with the masker but the networks and the definition of a region's cells. A whole
comparison at full size is `benchmarks/plain_comparison.py`.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn import functional as F


@dataclass
class PlainMask:
    mask: torch.Tensor
    """(H, W) bool."""
    points: list
    """[x, y] of the prompts of the first pass."""


def density(of, colours, width=0.005):
    """How dense colours are at (3, ...) pixels."""
    kernels = [torch.exp(-((colour.view(3, *[1] * (of.ndim - 1)) - of) ** 2).sum(dim=0)
                         / (2 * width ** 2)) for colour in colours]
    return torch.stack(kernels).mean(dim=0)


class PlainSamg:
    """The method for one model and one reference, with given fitted weights."""

    def __init__(self, model, reference, weights=(1 / 3, 1 / 3, 1 / 3), passes=3, guided='off'):
        self.model, self.passes, self.guided = model, passes, guided
        some = next(model.parameters())
        self.dtype, self.device = some.dtype, some.device
        self.weights = [float(w) for w in weights]
        self.reference = reference
        with torch.no_grad():
            self.encoding, maps = self.encode(reference.image)
            self.reference_maps = maps
            self.objects, self.clicks = self.reference_features(maps)

    def encode(self, frame):
        encoding = self.model.encode(torch.from_numpy(frame)[None].to(self.device))
        maps = {}
        for name, one in encoding.maps.items():
            resampled = F.interpolate(one.maps.double(), (self.model.grid_size,) * 2,
                                      mode='bilinear', align_corners=False)
            maps[name] = (resampled[0], one.padded)
        return encoding, maps

    def reference_features(self, maps):
        reference, grid = self.reference, self.model.grid_size
        height, width = reference.mask.shape
        objects, clicks = {}, {}
        for name, (features, padded) in maps.items():
            longer = max(height, width)
            objects[name] = []
            for mask in (reference.mask, *reference.parts):
                inside = self.cells(torch.from_numpy(mask), padded)
                chosen = torch.stack([features[:, y, x] for y in range(grid) for x in range(grid)
                                      if inside[y, x]])
                feature = (chosen.mean(dim=0) + chosen.max(dim=0).values) / 2
                objects[name].append(feature / feature.norm())
            clicks[name] = []
            for x, y in reference.points.tolist():
                x = grid * x / (longer if padded else width)
                y = grid * y / (longer if padded else height)
                x0, y0 = int(x), int(y)
                x1, y1 = min(x0 + 1, grid - 1), min(y0 + 1, grid - 1)
                feature = ((1 - (x - x0)) * (1 - (y - y0)) * features[:, y0, x0]
                           + (x - x0) * (1 - (y - y0)) * features[:, y0, x1]
                           + (1 - (x - x0)) * (y - y0) * features[:, y1, x0]
                           + (x - x0) * (y - y0) * features[:, y1, x1])
                clicks[name].append(feature / feature.norm())
        return objects, clicks

    def cells(self, mask, padded):
        """Cells of which at least half is inside; of a thinner region those it covers most."""
        grid, size = self.model.grid_size, self.model.image_size
        rows, columns = self.input_size(*mask.shape) if padded else (size, size)
        rows, columns = round(rows * grid / size), round(columns * grid / size)
        cover = F.interpolate(mask[None, None].double(), (rows, columns), mode='bilinear',
                              antialias=True, align_corners=False)[0, 0]
        inside = torch.zeros(grid, grid, dtype=torch.bool)
        inside[:rows, :columns] = cover >= min(0.5, float(cover.max()) / 2)
        return inside

    def input_size(self, height, width):
        scale = self.model.image_size / max(height, width)
        return int(height * scale + 0.5), int(width * scale + 0.5)

    def working_size(self, height, width):
        """Rows and columns at which maps are compared: the frame's, or of the decoder's masks."""
        if self.guided != 'full':
            return height, width
        return tuple(round(side * self.model.mask_size / self.model.image_size)
                     for side in self.input_size(height, width))

    def to_frame(self, one, height, width, padded=True):
        """(s, s) -> (H, W) by way of the low-resolution logits and the model's input."""
        def resize(picture, size):
            return F.interpolate(picture[None, None], size, mode='bilinear',
                                 align_corners=False)[0, 0]

        one = resize(one, (self.model.mask_size,) * 2)
        one = resize(one, (self.model.image_size,) * 2)
        if padded:
            rows, columns = self.input_size(height, width)
            one = one[:rows, :columns]
        return resize(one, (height, width))

    def similarity(self, maps, feature_of, height, width):
        """The averaged similarity map of one reference feature."""
        total = 0
        for name, (features, padded) in maps.items():
            cells = features / features.norm(dim=0)
            cosine = (feature_of[name][:, None, None] * cells).sum(dim=0)
            total = total + self.to_frame(cosine, height, width, padded)
        return total / len(maps)

    def similarities(self, maps, height, width):
        """Of the object, its parts, its clicked points."""
        found = []
        for table in (self.objects, self.clicks):
            for index in range(len(next(iter(table.values())))):
                feature_of = {name: rows[index] for name, rows in table.items()}
                found.append(self.similarity(maps, feature_of, height, width))
        return found

    def ask(self, encoding, points, labels, box, logits, height, width, guide=None):
        """One decoder pass; prompts in frame pixels."""
        rows, columns = self.input_size(height, width)
        kind = {'dtype': self.dtype, 'device': self.device}
        scale = torch.tensor([columns / width, rows / height], **kind)
        scaled = torch.tensor([points], **kind) * scale
        boxes = None if box is None else torch.tensor([box], **kind) * torch.cat([scale, scale])
        mask_logits = None if logits is None else logits[None].to(self.dtype)
        guides = None if guide is None else guide.to(self.dtype)
        if guides is not None and not self.model.guided:
            if logits is None:
                mask_logits = self.object_map(guides[0], list(guides[0]))[None]
            guides = None
        found, iou = self.model.decode(encoding, scaled, torch.tensor([labels], device=self.device),
                                       boxes, mask_logits, guides)
        return found[0].double(), iou[0]

    def spread(self, features, inside):
        """64 of the object's cells, evenly spread over it in reading order."""
        places = inside.nonzero()
        return [features[:, y, x] for y, x in
                (places[round(step * (len(places) - 1) / 63)] for step in range(64))]

    def dense(self, maps, height, width, name='dino', beside=False):
        """The highest of the cosines with the object's cells, or those of its surroundings."""
        features, padded = maps[name]
        reference, _ = self.reference_maps[name]
        mask = torch.from_numpy(self.reference.mask)
        inside = self.cells(mask, padded)
        if beside:
            inside = self.cells(torch.ones_like(mask), padded) & ~inside
        cosines = [(cell[:, None, None] * features).sum(dim=0) / cell.norm() / features.norm(dim=0)
                   for cell in self.spread(reference, inside)]
        return self.to_frame(torch.stack(cosines).max(dim=0).values, height, width, padded)

    def colour(self, encoding, width=0.005):
        """How usual a pixel's colour is on the object: log density, three decades down to 0."""
        colours = self.colours
        usual = density(torch.stack(colours, dim=1), colours, width).median()
        found = density(encoding.colours[0].double(), colours, width)
        return (1 + torch.log10((found / usual).clamp(min=1e-9)) / 3).clamp(0, 1)

    @cached_property
    def colours(self):
        """64 of the object's."""
        own = self.encoding.colours[0].double()
        return self.spread(own, self.own_colours(own, torch.from_numpy(self.reference.mask)))

    def own_colours(self, pixels, mask):
        """The mask without pixels of its rim that are coloured like the surroundings."""
        inside = mask.clone()
        for y, x in mask.nonzero().tolist():
            inside[y, x] = mask[max(y - 1, 0):y + 2, max(x - 1, 0):x + 2].all()
        on, beside = pixels[:, mask].T, pixels[:, ~mask].T
        some = on[torch.linspace(0, len(on) - 1, 1024).round().long()]
        others = beside[torch.linspace(0, len(beside) - 1, 1024).round().long()]
        foreign = len(on) * density(pixels, some) < len(beside) * density(pixels, others)
        if not inside.any() or (foreign & inside).sum() > 0.005 * inside.sum():
            return mask
        return mask & ~foreign

    def guides(self, similarity, encoding, maps, height, width):
        """Maps of where the object may be."""
        if self.guided == 'off':
            return []
        guides = [similarity]
        if self.guided == 'full':
            guides += [self.dense(maps, height, width, name, beside)
                       for name in ('dino', 'sam') for beside in (False, True)]
            return guides + [F.interpolate(self.colour(encoding, each)[None, None],
                                           (height, width), mode='bilinear',
                                           align_corners=False)[0, 0]
                             for each in (0.005, 0.02)]
        if self.guided != 'region':
            guides.append(self.dense(maps, height, width))
        if self.guided == 'colour':
            guides.append(self.colour(encoding))
        return guides

    def object_map(self, similarity, guides):
        """Where the object's own prompts are looked for."""
        if len(guides) <= 3:
            return sum(guides) / len(guides) if guides else similarity
        if not self.model.guided:  # cells count that look more like the object than beside it
            cells = sum(own * (own >= beside) for own, beside in (guides[1:3], guides[3:5])) / 2
            return (guides[0] + cells) / 2
        given = torch.stack(guides)[None].to(self.dtype) * self.model.similarity_gain
        first, _, last = self.model.evidence_shape
        weighed = F.conv2d(given, self.model.evidence_sum.weight, self.model.evidence_sum.bias)
        hidden = F.conv2d(given, first.weight, first.bias, padding=1).clamp(min=0)
        weighed = weighed + F.conv2d(hidden, last.weight, last.bias)
        return torch.tanh(weighed / 8)[0, 0]

    def guide(self, guides, height, width):
        """What the decoder is guides, zero in the padding."""
        if not guides:
            return None
        size = self.model.mask_size
        rows, columns = (round(side * size / self.model.image_size)
                         for side in self.input_size(height, width))
        hint = torch.zeros(1, len(guides), size, size, dtype=torch.float64, device=self.device)
        hint[..., :rows, :columns] = F.interpolate(torch.stack(guides)[None], (rows, columns),
                                                   mode='bilinear', align_corners=False)
        return hint * self.model.similarity_gain

    def mask(self, frame):
        with torch.no_grad():
            return self._mask(frame)

    def _mask(self, frame):
        whole_size = frame.shape[:2]
        height, width = self.working_size(*whole_size)
        encoding, maps = self.encode(frame)
        similarities = self.similarities(maps, height, width)
        guides = self.guides(similarities[0], encoding, maps, height, width)
        guide, whole = self.guide(guides, height, width), self.object_map(similarities[0], guides)
        points = [highest(whole), lowest(whole)] + [highest(one) for one in similarities[1:]]
        labels = [1, 0] + [1] * (len(similarities) - 1)
        first = list(points)
        found, iou = self.ask(encoding, points, labels, None, None, height, width, guide)
        logits = sum(w * one for w, one in zip(self.weights, found, strict=True))
        for number in range(2, self.passes + 1):
            box = box_of(self.to_frame(logits, height, width) > 0)
            if number == 2:
                x0, y0, x1, y1 = box
                x, y = lowest(whole[y0:y1 + 1, x0:x1 + 1])
                points = [*points, [x + x0, y + y0]]
            else:
                points = [*points, points[1]]
            labels = [*labels, 0]
            found, iou = self.ask(encoding, points, labels, box, logits, height, width,
                                  guide)
            logits = found[int(iou.argmax())]
        mask = self.to_frame(logits, *whole_size) > 0
        stretch = whole_size[1] / width, whole_size[0] / height
        first = [[int((at + 0.5) * by) for at, by in zip(point, stretch, strict=True)]
                 for point in first]
        return PlainMask(mask, first)

    def fit(self, steps=1000, seed=0):
        """Fit the weights by so many steps, a decoder pass each; returns w0, w1, w2."""
        height, width = self.working_size(*self.reference.mask.shape)
        target = torch.from_numpy(self.reference.mask).double()
        if self.guided == 'full':
            cover = F.interpolate(target[None, None], (height, width), mode='bilinear',
                                  antialias=True, align_corners=False)[0, 0]
            target = (cover >= min(0.5, float(cover.max()) / 2)).double()
        generator = torch.Generator().manual_seed(seed)
        noise = {name: torch.randn(steps, len(rows), len(self.objects[name][0]),
                                   generator=generator).double()
                 for name, rows in self.clicks.items()}
        noise = {name: each / each.norm(dim=-1, keepdim=True) for name, each in noise.items()}
        still, clicks = self.similarities(self.reference_maps, height, width), self.clicks
        regions = len(still) - len(next(iter(clicks.values())))
        guides = self.guides(still[0], self.encoding, self.reference_maps, height, width)
        guide, whole = self.guide(guides, height, width), self.object_map(still[0], guides)
        w = torch.full((2,), 1 / 3, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.AdamW([w], lr=1e-3, eps=1e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for step in range(steps):
            with torch.no_grad():
                points = [highest(whole), lowest(whole)]
                points += [highest(one) for one in still[1:regions]]
                for index in range(len(still) - regions):
                    moved = {name: rows[index] + 0.01 * noise[name][step, index]
                             for name, rows in clicks.items()}
                    points.append(highest(self.similarity(self.reference_maps, moved,
                                                          height, width)))
                labels = [1, 0] + [1] * (len(points) - 2)
                found, _ = self.ask(self.encoding, points, labels, None, None, height, width,
                                    guide)
                found = torch.stack([self.to_frame(one, height, width) for one in found])
            combined = (1 - w[0] - w[1]) * found[0] + w[0] * found[1] + w[1] * found[2]
            optimiser.zero_grad()
            persam_loss(combined, target).backward()
            optimiser.step()
            schedule.step()
        w1, w2 = w.tolist()
        self.weights = [1 - w1 - w2, w1, w2]
        return self.weights


def persam_loss(logits, target):
    """Dice + sigmoid focal loss (alpha 0.25, gamma 2), as PerSAM-F states them."""
    probability = logits.sigmoid()
    dice = 1 - (2 * (probability * target).sum() + 1) / (probability.sum() + target.sum() + 1)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
    right = probability * target + (1 - probability) * (1 - target)
    balance = 0.25 * target + 0.75 * (1 - target)
    return dice + (balance * entropy * (1 - right) ** 2).mean()


def highest(one):
    y, x = divmod(int(one.argmax()), one.shape[1])
    return [x, y]


def lowest(one):
    return highest(-one)


def box_of(mask):
    """x0, y0, x1, y1 of the true pixels, both ends inside; the whole frame if there are none."""
    ys, xs = torch.nonzero(mask, as_tuple=True)
    if len(ys) == 0:
        return [0, 0, mask.shape[1] - 1, mask.shape[0] - 1]
    return [int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())]
