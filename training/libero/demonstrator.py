"""A scripted demonstrator for "pick up X and place it in the basket" (or "on the plate"), from the simulator's state.

The grasp is planned from collision geometry: across the narrowest side, with hand and fingers free of what stands
beside it; where nothing is narrow enough, one finger goes inside the rim. Then: above, down, close, up, across, down,
open, up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scene import Scene, limit, surface

OPEN, CLOSED = -1.0, 1.0
WIDEST = 0.076  # the gripper opens 8 cm
CLOSING = 9  # steps; a gripper closes in about 8
# Metres from the rim to the middle of the fingers: what is farther in pushes the object a little as it closes, and
# needs less room beside it.
INSIDE = (0.008, 0.016, 0.024)
STRETCHED = 0.76  # metres from the arm's base; not far beyond the elbow is straight, and the arm stays so
GRID = 0.015
AROUND = 0.35  # what is farther away than this is in no way
ABOVE, DOWN, CLOSE, UP, ACROSS, LOWER, RELEASE, AWAY = range(8)


@dataclass(frozen=True)
class Grasp:
    turn: float  # of the line between the fingers about the vertical
    place: np.ndarray  # [2]
    height: float
    low: np.ndarray  # [3] of the object's box
    high: np.ndarray
    near: float = 0.025  # to be reached above it before the hand goes down
    over: float = 0.05  # its top, before the hand goes down


class Demonstrator:
    """`act` gives LIBERO's action for where the scene is now."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        env = scene.env
        self._site = scene.destination if scene.destination in env.object_sites_dict else None
        destination = env.object_sites_dict[self._site].parent_name if self._site else scene.destination
        self._object, self._destination = scene.body(scene.named), scene.body(destination)
        pads = env.robots[0].gripper.important_geoms
        self._pads = [scene.model.geom(pads[side][0]).id for side in ("left_fingerpad", "right_fingerpad")]
        self._tip = env.robots[0].eef_site_id
        self._phase, self._steps, self._retries, self._held_gap = ABOVE, 0, 0, 0.0
        self._hold = self.tip[:2]
        self._grasp = self._plan()
        rim = surface(scene, self._destination)
        self._rim = rim.min(0)[2], rim.max(0)[2]

    @property
    def tip(self) -> np.ndarray:
        return self._scene.data.site_xpos[self._tip].copy()

    @property
    def is_free(self) -> bool:
        """On the way to its object."""
        return self._phase == ABOVE

    def act(self) -> np.ndarray:
        """float64 [7]"""
        scene, data = self._scene, self._scene.data
        self._steps += 1
        if self._is_lost():
            self._retries += 1
            self._phase, self._steps = ABOVE, 0
            self._grasp = self._plan()
        grasp = self._grasp
        bottom = grasp.height - grasp.low[2]  # of the object under the tip
        lift = max(self._rim[1] + bottom + 0.06, grasp.height + 0.08)
        if self._site and "contain" in self._site:
            goal = data.site_xpos[scene.model.site(self._site).id][:2]
        else:
            goal = data.xpos[self._destination][:2]
        at = data.xpos[self._object]
        if self._phase == ABOVE:
            high = max(grasp.high[2] + grasp.over, grasp.height + grasp.over + 0.01)
            action, distance, turn = self._toward(np.array([*grasp.place, high]), OPEN)
            if distance < grasp.near and turn < 0.15:
                self._next()
        elif self._phase == DOWN:
            action, distance, _ = self._toward(np.array([*grasp.place, grasp.height]), OPEN)
            if distance < 0.008 or (self._steps > 25 and distance < 0.02) or self._steps > 45:
                self._next()
        elif self._phase == CLOSE:
            action, *_ = self._toward(np.array([*grasp.place, grasp.height]), CLOSED)
            self._held_gap = float(np.linalg.norm(at - self.tip))
            if self._steps >= CLOSING:
                self._next()
        elif self._phase == UP:
            action, *_ = self._toward(np.array([*self._hold, lift]), CLOSED)
            if self.tip[2] > lift - 0.02 or self._steps > 40:
                self._next()
        elif self._phase == ACROSS:
            action, *_ = self._toward(np.array([*(goal + self.tip[:2] - at[:2]), lift]), CLOSED)
            if np.linalg.norm(at[:2] - goal) < 0.015 or self._steps > 80:
                self._next()
        elif self._phase == LOWER:
            low = self._rim[0] + bottom + 0.05 if self._site else self._rim[1] + bottom
            action, *_ = self._toward(np.array([*(goal + self.tip[:2] - at[:2]), low]), CLOSED)
            if self.tip[2] < low + 0.008 or self._steps > (25 if self._site else 60):
                self._next()
        elif self._phase == RELEASE:
            action, *_ = self._toward(np.array([*self._hold, self.tip[2]]), OPEN)
            if self._steps > 8:
                self._next()
        else:
            action, *_ = self._toward(np.array([*self._hold, lift + 0.03]), OPEN)
        return action

    def _next(self) -> None:
        self._phase += 1
        self._steps = 0
        self._hold = self.tip[:2]

    def _is_lost(self) -> bool:
        if self._phase == ACROSS:
            return bool(np.linalg.norm(self._scene.data.xpos[self._object] - self.tip) > self._held_gap + 0.04)
        return self._phase == AWAY and self._steps > 15 and self._retries < 3

    def _fingers(self) -> float:
        left, right = (self._scene.data.geom_xpos[pad] for pad in self._pads)
        return float(np.arctan2(*(left - right)[1::-1]))

    def _toward(self, target: np.ndarray, gripper: float) -> tuple[np.ndarray, float, float]:
        """The action, the distance to the target, the largest turn that is left."""
        away = target - self.tip
        move = np.clip(away / 0.05 * 1.6, -1, 1)
        matrix = self._scene.data.site_xmat[self._tip].reshape(3, 3)
        turn = np.cross(matrix[:, 2], [0, 0, -1])  # the hand points down
        turn[2] += _half_turn(self._grasp.turn - self._fingers())
        action = np.array([*move, *np.clip(turn / 0.5 * 1.2, -0.6, 0.6), gripper])
        return action, float(np.linalg.norm(away)), float(np.abs(turn).max())

    def _plan(self) -> Grasp:
        scene = self._scene
        points = surface(scene, self._object)
        low, high = points.min(0), points.max(0)
        height = high[2] - low[2]
        flat, tall = low[2] + height * 0.45, max(high[2] - 0.035, low[2] + min(0.015, height / 2))
        at = tall if height > 0.05 else flat
        beside = self._surfaces_beside()
        now = self._fingers()
        options: list[tuple[float, Grasp]] = []
        for turn in np.linspace(0, np.pi, 36, endpoint=False):
            along, across = _axes(turn)
            u, v = points[:, :2] @ along, points[:, :2] @ across
            width = u.max() - u.min()
            if width > WIDEST:
                continue
            half = max(0.0, (v.max() - v.min()) / 2 - 0.012)
            for off in np.linspace(-half, half, 5):
                place = along * (u.max() + u.min()) / 2 + across * ((v.max() + v.min()) / 2 + off)
                cost = width * 60 + abs(_half_turn(turn - now)) * 1.5 + abs(off) * 30
                cost += _blocked(beside, place, turn, at)
                options.append((cost, Grasp(turn, place, at, low, high)))
        if not options:
            options = self._rim_grasps(points, low, high, beside, now)
        return min(options, key=lambda option: option[0])[1]

    def _rim_grasps(
        self, points: np.ndarray, low: np.ndarray, high: np.ndarray, beside: np.ndarray, now: float
    ) -> list[tuple[float, Grasp]]:
        """One finger inside the rim, for what is wider than the gripper everywhere."""
        middle = (low + high)[:2] / 2
        base = self._scene.env.robots[0].base_pos[:2]
        from_middle = np.linalg.norm(points[:, :2] - middle, axis=1)
        options = []
        for turn in np.arange(36) * np.pi / 18:
            along, _ = _axes(turn)
            side = points[(points[:, :2] - middle) @ along > 0.8 * from_middle]
            if not len(side):
                continue
            rim = side[side[:, 2] > side[:, 2].max() - 0.006]  # a tilted bowl has a low and a high side
            at = rim[:, 2].max() - 0.018
            edge = ((rim[:, :2] - middle) @ along).max()
            for inside in INSIDE:
                place = middle + along * (edge - inside)
                cost = abs(_half_turn(turn - now)) * 1.5 + _blocked(beside, place, turn % np.pi, at, 0.028)
                cost += max(0.0, high[2] - 0.018 - at) * 60 + (inside - INSIDE[0]) * 100
                cost += max(0.0, np.linalg.norm(place - base) - STRETCHED) * 200
                options.append((cost, Grasp(turn % np.pi, place, at, low, high, near=0.012, over=0.03)))
        return options

    def _surfaces_beside(self) -> np.ndarray:
        """Points on everything but the object, filled in between the vertices."""
        rng = np.random.default_rng(0)
        found = []
        for name, body in self._scene.env.obj_body_id.items():
            if body == self._object:
                continue
            points = surface(self._scene, body)
            if name in self._scene.env.fixtures_dict:  # large plates, with little between their corners
                found.append(surface(self._scene, body, GRID))
            elif len(points):
                a, b = points[rng.integers(len(points), size=600)], points[rng.integers(len(points), size=600)]
                share = rng.random((600, 1))
                found += [points, a * share + b * (1 - share)]
        points = np.concatenate(found)
        away = np.linalg.norm(points[:, :2] - self._scene.data.xpos[self._object][:2], axis=1)
        return points[away < AROUND]


def demonstrated(scene: Scene) -> Iterator[np.ndarray]:
    """Plays the scene to its end; its actions, LIBERO's."""
    demonstrator = Demonstrator(scene)
    for _ in range(limit(scene.suite)):
        action = demonstrator.act()
        yield action
        if scene.step(action):
            return


def _axes(turn: float) -> tuple[np.ndarray, np.ndarray]:
    cosine, sine = np.cos(turn), np.sin(turn)
    return np.array([cosine, sine]), np.array([-sine, cosine])


def _half_turn(turn: float) -> float:
    """The fingers may change places."""
    return (turn + np.pi / 2) % np.pi - np.pi / 2


def _blocked(beside: np.ndarray, place: np.ndarray, turn: float, height: float, hand_at: float = 0.035) -> float:
    """What hand and fingers would meet there. `hand_at`: metres from their middle to the hand."""
    along, across = _axes(turn)
    away = beside[:, :2] - place
    u, v, z = np.abs(away @ along), np.abs(away @ across), beside[:, 2]
    hand = (u < 0.115) & (v < 0.04) & (z > height + hand_at)
    finger = (u > 0.02) & (u < 0.065) & (v < 0.016) & (z > height - 0.012)
    return 0.5 * hand.sum() + 0.5 * finger.sum() + 10.0 * bool(hand.any() or finger.any())
