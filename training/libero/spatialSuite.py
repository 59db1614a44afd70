"""LIBERO-Spatial: one of two equal bowls goes onto the plate, and where it stands is its name.

`on` and `in` are LIBERO's own checks. What LIBERO leaves to the eye (next to, between, the table's center) is judged by
distances on the table, with margins: a relation names a bowl where it surely holds of it and surely not of the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from spatialSentences import HELD_OUT, RELATIONS, WORDS, name_of

from scene import Scene, surface

PLATE, RAMEKIN, COOKIES = "plate_1", "glazed_rim_porcelain_ramekin_1", "cookies_1"
CABINET, STOVE = "wooden_cabinet_1", "flat_stove_1"
BURNER, TOP, DRAWER = "flat_stove_1_cook_region", "wooden_cabinet_1_top_side", "wooden_cabinet_1_top_region"
BOWLS = ("akita_black_bowl_1", "akita_black_bowl_2")

BETWEEN, CENTER, IN_DRAWER = RELATIONS[0], RELATIONS[2], RELATIONS[4]
UPON = {
    IN_DRAWER: ("in", DRAWER),
    "on the wooden cabinet": ("on", TOP),
    "on the stove": ("on", BURNER),
    "on the cookie box": ("on", COOKIES),
    "on the ramekin": ("on", RAMEKIN),
}
BESIDE = {"next to the plate": PLATE, "next to the ramekin": RAMEKIN, "next to the cookie box": COOKIES}
ORDER = (*UPON, BETWEEN, CENTER, *BESIDE)  # of the relations of a bowl the first is its name

# Metres. In LIBERO's own states a bowl next to something is 0.10 to 0.14 away, center to center.
TABLE = 0.895
ON_TABLE = 0.01
NEAR, FAR = 0.145, 0.185
MIDDLE, MIDDLE_NEAR, MIDDLE_FAR = np.array([-0.075, 0.0]), 0.05, 0.1
LINE_NEAR, LINE_FAR = 0.03, 0.07  # off the line from the plate to the ramekin

# Where plate, ramekin and cookie box are drawn: LIBERO has each at one place of 2 cm.
REACH = ((-0.25, 0.15), (-0.10, 0.32))
BASE = np.array([-0.66, 0.0])
# Horizontally; farther out the elbow is straight, and the more so the higher the hand is.
LEAST_ARM, ARM, ARM_OVER_PLATE, ARM_ABOVE = 0.42, 0.78, 0.765, 0.76
SHIFT = 0.03  # of cabinet and stove
OPEN, CLOSED = (-0.16, -0.14), 0.0  # of the drawer, LIBERO's
RADIUS = {PLATE: 0.069, RAMEKIN: 0.045, COOKIES: 0.052, **dict.fromkeys(BOWLS, 0.054)}
# Above what it stands on, at rest; a bowl's origin is at its foot.
REST = {PLATE: 0.007, RAMEKIN: 0.004, COOKIES: 0.014, **dict.fromkeys(BOWLS, 0.003)}
UPON_HEIGHT = {COOKIES: 0.008, RAMEKIN: 0.035, BURNER: 0.02, TOP: -0.001, DRAWER: -0.028}
DROP = np.array([0.0, 0.0, 0.003])
TRIES = 4000
Places = dict[str, np.ndarray]


def on_the_table(at: Mapping[str, np.ndarray], bowl: str) -> dict[str, bool | None]:
    """Of a bowl at [3], by relation: True surely, False surely not, None neither. `at`: bowls, plate, ramekin, box."""
    place = at[bowl][:2]
    if at[bowl][2] > TABLE + ON_TABLE:
        return dict.fromkeys((BETWEEN, CENTER, *BESIDE), False)
    line = at[RAMEKIN][:2] - at[PLATE][:2]
    length = float(np.linalg.norm(line))
    along, across = (place - at[PLATE][:2]) @ np.stack([line, [-line[1], line[0]]], 1) / length
    inside, off = along / length, abs(across)
    found = {
        BETWEEN: _sure(0.25 < inside < 0.75 and off < LINE_NEAR, not 0.1 < inside < 0.9 or off > LINE_FAR),
        CENTER: _within(place - MIDDLE, MIDDLE_NEAR, MIDDLE_FAR),
    }
    return found | {name: _within(place - at[anchor][:2], NEAR, FAR) for name, anchor in BESIDE.items()}


def _within(away: np.ndarray, near: float, far: float) -> bool | None:
    distance = float(np.linalg.norm(away))
    return _sure(distance < near, distance > far)


def _sure(holds: bool, holds_not: bool) -> bool | None:
    return True if holds else False if holds_not else None


class SpatialSuite:
    name = "libero_spatial"
    words = WORDS
    names_last = False
    marks: Mapping[str, str] = MappingProxyType({BURNER: "stove", TOP: "wooden cabinet"})
    floor, above = TABLE, 0.26  # over a bowl on the cabinet
    most_steps = 200  # the demonstrator takes 60 to 130

    def settle(self, scene: Scene, rng: np.random.Generator) -> None:
        """LIBERO drops everything from 7 cm, and its bowls over where a fixture stood before the reset."""
        things, fixtures = (*BOWLS, PLATE, RAMEKIN, COOKIES), (BURNER, TOP, DRAWER)
        scene.env.sim.forward()
        at = dict(zip((*things, *fixtures), scene.positions([*things, *fixtures]), strict=True))
        for thing in things:
            at[thing][2] = TABLE + REST[thing]
        for _, thing, *anchor in scene.env.parsed_problem["initial_state"]:
            if anchor and anchor[0] in UPON_HEIGHT:
                at[thing] = _upon(rng, anchor[0], at[anchor[0]])
        for thing in things:
            scene.put(thing, at[thing] + DROP, 0.0)

    def names(self, scene: Scene) -> dict[str, str]:
        """Of the bowls that a relation tells from the other one."""
        things = (*BOWLS, PLATE, RAMEKIN, COOKIES)
        if not all(thing in scene.env.objects_dict for thing in things):  # LIBERO-PRO exchanges some
            return {}
        at = dict(zip(things, scene.positions(list(things)), strict=True))
        judged = {}
        for bowl in BOWLS:
            upon = {relation: scene.holds(how, bowl, anchor) for relation, (how, anchor) in UPON.items()}
            judged[bowl] = upon | on_the_table(at, bowl)
        return _names(judged)

    def is_held_out(self, task: int, names: dict[str, str], body: str) -> bool:
        """Of both bowls, whatever the task: it is the pair that training never has."""
        named = set(names.values())
        return any({name_of(one), name_of(other)} == named for one, other in zip(RELATIONS, HELD_OUT, strict=True))

    def place(self, scene: Scene, rng: np.random.Generator, task: int, held_out: bool | None) -> dict[str, str]:
        """The first bowl in the task's relation, the other in another one; what they are related to is anywhere on the
        table, cabinet and stove a little off."""
        kept = HELD_OUT[task]
        fit = [one for one in RELATIONS if one != RELATIONS[task] and (held_out is None or (one == kept) == held_out)]
        pair = dict(zip(BOWLS, (RELATIONS[task], str(rng.choice(fit))), strict=True))
        for fixture in (CABINET, STOVE):
            scene.model.body_pos[scene.body(fixture)][:2] += rng.uniform(-SHIFT, SHIFT, 2)
        drawer = rng.uniform(*OPEN) if IN_DRAWER in pair.values() else CLOSED
        scene.env.object_states_dict[DRAWER].set_joint(drawer)
        scene.env.sim.forward()
        sites = dict(zip((BURNER, TOP, DRAWER), scene.positions([BURNER, TOP, DRAWER]), strict=True))
        walls = [Wall(scene, fixture) for fixture in (CABINET, STOVE)]
        for _ in range(TRIES):
            places = _draw(rng, pair, sites)
            if not _fits(places, pair, walls):
                continue
            for body, place in places.items():
                scene.put(body, place + DROP, rng.uniform(-0.5, 0.5))
            scene.env.sim.forward()
            seen = scene.pixels(list(places))[0]
            if ((seen > 0.02) & (seen < 0.98)).all():
                return {bowl: name_of(relation) for bowl, relation in pair.items()}
        return {}


class Wall:
    """The floor plan of a fixture: a box, turned as it stands."""

    def __init__(self, scene: Scene, fixture: str) -> None:
        body = scene.body(fixture)
        self._at = scene.data.xpos[body][:2].copy()
        self._turn = scene.data.xmat[body].reshape(3, 3)[:2, :2].copy()
        points = (surface(scene, body)[:, :2] - self._at) @ self._turn
        self._low, self._high = points.min(0), points.max(0)

    def distance(self, place: np.ndarray) -> float:
        local = (place - self._at) @ self._turn
        return float(np.linalg.norm(local - np.clip(local, self._low, self._high)))


def _names(judged: Mapping[str, Mapping[str, bool | None]]) -> dict[str, str]:
    names = {}
    for bowl, other in (BOWLS, BOWLS[::-1]):
        fit = [one for one in ORDER if judged[bowl][one] is True and judged[other][one] is False]
        if fit:
            names[bowl] = name_of(fit[0])
    return names


def _upon(rng: np.random.Generator, anchor: str, place: np.ndarray) -> np.ndarray:
    """[3] of a bowl on or in it."""
    most = {COOKIES: 0.01, RAMEKIN: 0.006, DRAWER: 0.01}.get(anchor, 0.025)
    return place + np.array([*rng.uniform(-most, most, 2), UPON_HEIGHT[anchor]])


def _draw(rng: np.random.Generator, pair: Mapping[str, str], sites: Places) -> Places:
    """[3] by body."""
    low, high = np.transpose(REACH)
    at = {body: np.array([*rng.uniform(low, high), TABLE + REST[body]]) for body in (PLATE, RAMEKIN, COOKIES)}
    anchors = at | sites
    for bowl, relation in pair.items():
        if relation in UPON:
            anchor = UPON[relation][1]
            at[bowl] = _upon(rng, anchor, anchors[anchor])
            continue
        if relation == BETWEEN:
            along = rng.uniform(0.3, 0.65) * (at[RAMEKIN] - at[PLATE])[:2]
            place = at[PLATE][:2] + along + rng.uniform(-0.015, 0.015, 2)
        elif relation == CENTER:
            place = MIDDLE + rng.uniform(-0.03, 0.03, 2)
        else:
            angle, anchor = rng.uniform(-np.pi, np.pi), BESIDE[relation]
            away = RADIUS[anchor] + RADIUS[bowl] + rng.uniform(-0.005, 0.02)
            place = at[anchor][:2] + away * np.array([np.cos(angle), np.sin(angle)])
        at[bowl] = np.array([*place, TABLE + REST[bowl]])
    return at


def _gap(body: str, other: str, loaded: set[str]) -> float:
    """Least metres between two things on the table."""
    if PLATE in (body, other) and loaded & {body, other}:
        return 0.06  # the hand comes down beside it
    bowls = (body in BOWLS) + (other in BOWLS)
    return (0.03, -0.008, 0.005)[bowls]  # a bowl's rim is above what it stands next to


def _fits(at: Places, pair: Mapping[str, str], walls: list[Wall]) -> bool:
    """Nothing collides, all is within reach, and each bowl is named by the relation that it was drawn for."""
    standing = [body for body in at if pair.get(body) not in UPON]
    loaded = {UPON[relation][1] for relation in pair.values() if relation in UPON}

    def radius(body: str) -> float:
        return max(RADIUS[body], RADIUS[BOWLS[0]]) if body in loaded else RADIUS[body]

    for body in at:
        most = ARM_OVER_PLATE if body == PLATE else ARM_ABOVE if at[body][2] > TABLE + 0.1 else ARM
        if not LEAST_ARM < np.linalg.norm(at[body][:2] - BASE) < most:
            return False
    for body in standing:
        place = at[body][:2]
        if any(wall.distance(place) < RADIUS[body] + (0.06 if body == PLATE else 0.02) for wall in walls):
            return False
        for other in standing[: standing.index(body)]:
            if np.linalg.norm(place - at[other][:2]) < radius(body) + radius(other) + _gap(body, other, loaded):
                return False
    judged = {}
    for bowl, relation in pair.items():
        upon = dict.fromkeys(UPON, False) | ({relation: True} if relation in UPON else {})
        judged[bowl] = upon | on_the_table(at, bowl)
    return _names(judged) == {bowl: name_of(relation) for bowl, relation in pair.items()}
