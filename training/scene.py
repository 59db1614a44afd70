"""Cubes of one size on a table in robosuite: a Panda arm, OSC_POSE deltas at 20 Hz, LIBERO's observation layout.

A seed decides everything: which colours lie where, light, camera. Actions are [x, y, z, roll, pitch, yaw, gripper],
each in -1..1, the gripper -1 open and 1 closed. The state is the gripper's position, its axis-angle, two finger joints.
"""

from __future__ import annotations

import colorsys
import logging
import os

os.environ.setdefault("MUJOCO_GL", "osmesa")  # a reset takes 25 ms; with egl 600
os.environ.setdefault("LP_NUM_THREADS", "0")  # the renderer draws in the calling thread

import mujoco
import numpy as np
from robosuite.controllers import load_composite_controller_config
from robosuite.environments.manipulation.lift import Lift
from robosuite.models.arenas import TableArena
from robosuite.models.objects import BoxObject
from robosuite.models.tasks import ManipulationTask
from robosuite.utils.transform_utils import quat2axisangle

from sentences import COLORS, TEMPLATES, words_for

logging.disable(logging.WARNING)

RATE = 20
SLOTS = 4
HALF = 0.02
TABLE = 0.8
LIFTED = 0.04
CAMERAS = {"full_image": "agentview", "wrist_image": "robot0_eye_in_hand"}
# hue, saturation, value
HUES = {
    "red": (0.0, 0.85, 0.80),
    "green": (0.36, 0.80, 0.60),
    "blue": (0.62, 0.85, 0.80),
    "yellow": (0.155, 0.90, 0.90),
    "purple": (0.79, 0.65, 0.65),
    "orange": (0.075, 0.90, 0.90),
    "gray": (0.0, 0.0, 0.45),
}
DISTRACTORS = ("orange", "gray")  # lie there and are never named
# Not drawn: half of the triangles of a frame, none of them near the table.
HIDDEN = ("fixed_mount", "robot0_link0", "robot0_link1", "robot0_link2", "robot0_link3")


class _Boxes(Lift):
    """robosuite's Lift with `SLOTS` plain boxes instead of one."""

    def _load_model(self) -> None:
        super(Lift, self)._load_model()
        robot = self.robots[0].robot_model
        robot.set_base_xpos(robot.base_xpos_offset["table"](self.table_full_size[0]))
        arena = TableArena(
            table_full_size=self.table_full_size, table_friction=self.table_friction, table_offset=self.table_offset
        )
        arena.set_origin([0, 0, 0])
        size = [HALF] * 3
        self.boxes = [BoxObject(name=f"cube{i}", size_min=size, size_max=size, rgba=[1, 1, 1, 1]) for i in range(SLOTS)]
        self.cube = self.boxes[0]
        self.model = ManipulationTask(mujoco_arena=arena, mujoco_robots=[robot], mujoco_objects=self.boxes)

    def _setup_references(self) -> None:
        super(Lift, self)._setup_references()
        model = self.sim.model
        self.bodies = [model.body_name2id(box.root_body) for box in self.boxes]
        self.cube_body_id = self.bodies[0]
        self.joints = [box.joints[0] for box in self.boxes]
        self.visual = [[model.geom_name2id(name) for name in box.visual_geoms] for box in self.boxes]

    def _reset_internal(self) -> None:
        self.sim.model.vis.quality.offsamples = 0  # without multisampling a frame takes half the time
        super(Lift, self)._reset_internal()

    def reward(self, action: np.ndarray | None = None) -> float:
        return 0.0

    def _check_success(self) -> bool:
        return False


class Layout:
    """What a seed decides: colours, places (metres, radians), light, camera."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        count = int(rng.integers(3, SLOTS + 1))
        names = [str(name) for name in rng.permutation(COLORS)[:count]]
        if rng.random() < 0.3:
            names[-1] = str(rng.choice(DISTRACTORS))
        self.names = names
        while True:
            xy = np.stack([rng.uniform(-0.10, 0.10, count), rng.uniform(-0.13, 0.13, count)], 1)
            if (np.linalg.norm(xy[:, None] - xy[None], axis=-1) + np.eye(count)).min() > 0.08:
                break
        self.xy = xy
        self.yaw = rng.uniform(-0.35, 0.35, count)
        self.rgb = []
        for name in names:
            hue, saturation, value = HUES[name]
            hue = (hue + rng.uniform(-0.015, 0.015)) % 1
            saturation = np.clip(saturation + rng.uniform(-0.1, 0.1), 0, 1)
            value = np.clip(value + rng.uniform(-0.1, 0.1), 0, 1)
            self.rgb.append(colorsys.hsv_to_rgb(hue, saturation, value))
        self.light = 1 + rng.uniform(-0.25, 0.25)
        self.ambient = 0.1 + rng.uniform(-0.08, 0.12)
        self.light_direction = rng.uniform(-0.4, 0.4, 2)
        self.camera = rng.uniform(-0.012, 0.012, 3)


class Scene:
    """The simulator; `reset(seed)` lays out a scene, `frames` are uint8 RGB squares of `side` pixels."""

    def __init__(self, side: int = 192) -> None:
        self.side = side
        self.env = _Boxes(
            robots="Panda",
            controller_configs=load_composite_controller_config(controller="BASIC", robot="Panda"),
            has_renderer=False,
            has_offscreen_renderer=True,
            use_camera_obs=False,
            camera_names=list(CAMERAS.values()),
            camera_heights=side,
            camera_widths=side,
            control_freq=RATE,
            horizon=10_000,
            hard_reset=False,
            use_object_obs=False,
        )
        model = self.env.sim.model
        for geom in range(model._model.ngeom):
            body = model._model.body(model.geom_bodyid[geom]).name
            if model.geom_group[geom] == 1 and body.startswith(HIDDEN):
                model.geom_matid[geom] = -1
                model.geom_rgba[geom] = [0, 0, 0, 0]
        self._camera = model.camera_name2id(CAMERAS["full_image"])
        self._usual = model.cam_pos[self._camera].copy(), model.light_dir.copy(), model.light_diffuse.copy()

    def reset(self, seed: int) -> None:
        self.layout = layout = Layout(seed)
        self.env.rng = np.random.default_rng([seed, 1])
        np.random.seed(seed % 2**31)  # robosuite draws from it
        self.env.reset()
        sim = self.env.sim
        model = sim.model
        for slot in range(SLOTS):
            here = slot < len(layout.names)
            # one that is not there lies on the floor, behind the camera
            place = [*layout.xy[slot], TABLE + HALF + 0.002] if here else [3.0, 1.0, HALF]
            yaw = layout.yaw[slot] if here else 0.0
            turned = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
            sim.data.set_joint_qpos(self.env.joints[slot], np.concatenate([place, turned]))
            for geom in self.env.visual[slot]:
                model.geom_rgba[geom] = [*layout.rgb[slot], 1] if here else [1, 1, 1, 1]
        position, direction, diffuse = self._usual
        model.cam_pos[self._camera] = position + layout.camera
        model.light_diffuse[:] = diffuse * layout.light
        model.light_dir[:, :2] = direction[:, :2] + layout.light_direction
        model.vis.headlight.ambient[:] = layout.ambient
        sim.forward()
        flags = sim._render_context_offscreen.scn.flags
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        for _ in range(5):  # as LIBERO: objects settle first
            self.step(np.array([0, 0, 0, 0, 0, 0, -1.0]))
        self._start = {name: self.cube(name)[2] for name in layout.names}

    def step(self, action: np.ndarray) -> None:
        self.readings, *_ = self.env.step(np.clip(action, -1, 1))

    def frames(self) -> dict[str, np.ndarray]:
        """By the policy's name of the camera, turned by 180 degrees as LIBERO's are."""
        render = self.env.sim.render
        return {
            name: np.ascontiguousarray(render(camera_name=camera, width=self.side, height=self.side)[::-1, ::-1])
            for name, camera in CAMERAS.items()
        }

    def state(self) -> np.ndarray:
        """[8] float32"""
        seen = self.readings
        turn = quat2axisangle(seen["robot0_eef_quat"])
        return np.concatenate([seen["robot0_eef_pos"], turn, seen["robot0_gripper_qpos"]]).astype(np.float32)

    def cube(self, name: str) -> np.ndarray:
        """[3] metres"""
        return self.env.sim.data.body_xpos[self._body(name)].copy()

    def cube_yaw(self, name: str) -> float:
        w, x, y, z = self.env.sim.data.body_xquat[self._body(name)]
        return _quarter(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))

    def gripper_yaw(self) -> float:
        seen = self.readings
        x, y, z, w = seen.get("robot0_eef_quat_site", seen["robot0_eef_quat"])
        return _quarter(np.arctan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z)))

    def lifted(self) -> str | None:
        """The first cube that is more than 4 cm above where it lay."""
        up = (name for name in self.layout.names if self.cube(name)[2] - self._start[name] > LIFTED)
        return next(up, None)

    def pixel(self, camera: str, point: np.ndarray) -> np.ndarray:
        """(x, y) of a point in `frames()[camera]` as fractions of the side; NaN behind the camera."""
        sim = self.env.sim
        index = sim.model.camera_name2id(CAMERAS[camera])
        local = sim.data.cam_xmat[index].reshape(3, 3).T @ (point - sim.data.cam_xpos[index])
        if local[2] >= 0:
            return np.full(2, np.nan)
        focal = 0.5 / np.tan(np.deg2rad(sim.model.cam_fovy[index]) / 2)
        return np.array([0.5 - focal * local[0] / -local[2], 0.5 - focal * local[1] / -local[2]])

    def project(self, camera: str, point: np.ndarray) -> list[float] | None:
        """`pixel`, rounded; None outside of the frame."""
        x, y = self.pixel(camera, point)
        return [round(float(x), 4), round(float(y), 4)] if 0 <= x <= 1 and 0 <= y <= 1 else None

    def task(self, seed: int, family: str, templates: str = "test") -> tuple[str, str] | None:
        """The cube and the sentence of this scene; None where no sentence of the family fits."""
        rng = np.random.default_rng([seed, 3])
        names = self.layout.names
        xy = np.stack([self.cube(name)[:2] for name in names])
        fitting = [
            (name, words)
            for slot, name in enumerate(names)
            if name in COLORS
            for words in words_for(xy, names, slot)[family]
        ]
        if not fitting:
            return None
        named, words = fitting[rng.integers(len(fitting))]
        return named, str(rng.choice(TEMPLATES[templates][family])).format(*words)

    def _body(self, name: str) -> int:
        return self.env.bodies[self.layout.names.index(name)]


def _quarter(angle: float) -> float:
    """A cube looks the same after a quarter turn: the angle in +-45 degrees."""
    return float((angle + np.pi / 4) % (np.pi / 2) - np.pi / 4)


class Demonstrator:
    """Above the cube, down, close, up: a function of what the simulator knows, without a memory."""

    def __init__(self, scene: Scene, color: str) -> None:
        self._scene = scene
        self._color = color

    is_grasping = False
    """At the last action: the fingers close on the cube or hold it."""

    def act(self) -> np.ndarray:
        """[7] float64"""
        scene = self._scene
        cube = scene.cube(self._color)
        hand = scene.readings["robot0_eef_pos"]
        opening = np.abs(scene.readings["robot0_gripper_qpos"]).mean()
        away = cube - hand
        aside = np.linalg.norm(away[:2])
        holding = opening < HALF + 0.0025 and aside < 0.02 and abs(away[2]) < 0.025
        closing = opening < 0.037 and aside < 0.02 and abs(away[2]) < 0.02
        self.is_grasping = bool(holding or closing)
        turn = _quarter(scene.cube_yaw(self._color) - scene.gripper_yaw())
        gripper = -1.0
        if holding:
            move, gripper, turn = np.array([0, 0, 0.8]), 1.0, 0.0
        elif closing or (aside < 0.012 and abs(away[2]) < 0.010):
            move, gripper, turn = np.clip(away * 8, -0.3, 0.3), 1.0, 0.0
        else:
            # down a cone: the lower, the better aligned
            target = cube + np.array([0, 0, np.clip((aside - 0.012) * 3.0, 0, 0.06)])
            move = np.clip((target - hand) * 12, -1, 1)
        return np.concatenate([move, [0, 0, np.clip(turn * 3, -0.5, 0.5)], [gripper]])
