"""LIBERO's scenes: physics, controller and check of success are LIBERO's own, the costs around them are not.

The environment is LIBERO's, without its cameras and without parsing the scene anew at each reset; frames come from
renderer.py. A scene starts from one of LIBERO's initial states, as LIBERO's own reset lays it out, or as a suite places
its objects, and any of its objects can be the one that the goal names.

Actions are LIBERO's: [x, y, z, roll, pitch, yaw, gripper] in -1..1, the gripper -1 open and 1 closed. The state is the
gripper's position, its axis-angle, two finger joints.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "osmesa")  # a context is made in 20 ms; with egl 600
os.environ.setdefault("LP_NUM_THREADS", "0")  # the renderer draws in the calling thread
os.environ.setdefault("OMP_NUM_THREADS", "1")

import mujoco
import numpy as np
from libero.libero import benchmark, get_libero_path
from libero.libero.envs.env_wrapper import ControlEnv
from renderer import Renderer, thin

logging.disable(logging.WARNING)  # robosuite, of its macro file

CAMERAS = {"full_image": "agentview", "wrist_image": "robot0_eye_in_hand"}
LIMITS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520, "libero_90": 400}
RATE = 20  # steps a second
WAIT = 10  # steps in which what was placed comes to rest, as in the authors' loop
IDLE = (0, 0, 0, 0, 0, 0, -1)
ROLLED = 0.03  # metres


def suites_there() -> list[str]:
    """LIBERO's names of the suites whose initial states the package has; it lists others too."""
    folder = Path(get_libero_path("init_states"))
    return [name for name in benchmark.get_benchmark_dict() if (folder / name).is_dir()]


def limit(suite: str) -> int:
    """Steps of the authors' evaluation; those of LIBERO-PRO are the ones of the suite that it changes."""
    return next(steps for name, steps in LIMITS.items() if suite == name or suite.startswith(f"{name}_"))


def axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """Of (x, y, z, w), as the authors: angle 0 to 2 pi, not wrapped to the shorter way round."""
    w = np.clip(quaternion[3], -1.0, 1.0)
    sine = np.sqrt(1.0 - w * w)
    return np.zeros(3) if np.isclose(sine, 0.0) else quaternion[:3] * 2.0 * np.arccos(w) / sine


def plain_name(body: str) -> str:
    """`alphabet_soup_1` as people say it."""
    return body.rsplit("_", 1)[0].replace("_", " ")


class Scene:
    """One task's scene. `side`: pixels of a frame. `full`: frames exactly as LIBERO renders them, at its cost."""

    def __init__(self, suite: str, task: int, side: int = 256, full: bool = False) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            tasks = benchmark.get_benchmark_dict()[suite]()
            self.suite, self.task = suite, tasks.get_task(task)
            file = Path(get_libero_path("bddl_files"), self.task.problem_folder, self.task.bddl_file)
            self._wrapper = ControlEnv(str(file), use_camera_obs=False, has_offscreen_renderer=False, hard_reset=False)
        self.states = np.asarray(tasks.get_task_init_states(task))
        self.env = self._wrapper.env
        # The file's name is what policies are trained with; in these suites of LIBERO-PRO it is not what the goal is.
        is_changed = suite.endswith(("_lan", "_task"))
        self.language = self._wrapper.language_instruction if is_changed else self.task.language
        self._stepping = False
        self._observe_once_a_step()
        self._wrapper.seed(0)
        self._reset()
        goal = list(self.env.parsed_problem["goal_state"][0])
        self.target, self.destination = goal[1], goal[2]
        self.named = self.target
        if not full:
            thin(self.model)
            self._compute_once_a_substep()
        self._renderer = Renderer(self.model, self.data, side, plain=not full)
        self._cameras = {name: self.model.camera(camera).id for name, camera in CAMERAS.items()}

    def _observe_once_a_step(self) -> None:
        """robosuite updates its observables 25 times a step; what is read is the last."""
        env = self.env
        update, get = env._update_observables, env._get_observations
        env._update_observables = lambda force=False: update(force=True) if force else None
        env._get_observations = lambda force_update=False: get(force_update=True)

    def _compute_once_a_substep(self) -> None:
        """robosuite computes all of a substep three times, two of them with the controls of the substep before. Here
        MuJoCo's two halves of a step stand around the controller: what is computed once is what it reads. The solver
        starts from elsewhere, so that the result differs in its last digits."""
        sim, forward, step = self.env.sim, self.env.sim.forward, self.env.sim.step
        half = False

        def first_half() -> None:
            nonlocal half
            if not self._stepping:
                forward()
            elif not half:
                mujoco.mj_step1(self.model, self.data)
                half = True

        def second_half(with_udd: bool = True) -> None:
            nonlocal half
            if not half:
                step(with_udd)
            else:
                mujoco.mj_step2(self.model, self.data)
                half = False

        sim.forward, sim.step = first_half, second_half

    @property
    def model(self) -> mujoco.MjModel:
        return self.env.sim.model._model

    @property
    def data(self) -> mujoco.MjData:
        return self.env.sim.data._data

    @property
    def objects(self) -> list[str]:
        """What can be moved, in the order of the scene; not where things are put."""
        return [body for body in self.env.objects_dict if body != self.receiver]

    @property
    def receiver(self) -> str:
        """Where things are put: a basket, a plate."""
        return self.destination.removesuffix("_contain_region")

    def inside(self) -> str | None:
        """The object with which the goal is reached, the named one first."""
        goal = self.env.parsed_problem["goal_state"][0]
        for body in sorted(self.objects, key=lambda body: body != self.named):
            if self.holds(goal[0], body, goal[2]):
                return body
        return None

    def holds(self, relation: str, *names: str) -> bool:
        """LIBERO's own check, for instance of `on`."""
        return bool(self.env._eval_predicate([relation, *names]))

    def body(self, name: str) -> int:
        return self.env.obj_body_id[name]

    def name(self, body: str) -> None:
        """Makes this object the one that the goal is about."""
        goal = self.env.parsed_problem["goal_state"][0]
        goal[1] = self.named = body

    def _reset(self) -> None:
        """LIBERO's own, from the scene as it was parsed: the gripper forgets what it was told last."""
        self.env.robots[0].gripper.current_action = np.zeros_like(self.env.robots[0].gripper.current_action)
        self._wrapper.reset()

    def start_official(self, index: int) -> None:
        """An initial state of LIBERO. It does not say where fixtures stand: LIBERO's reset draws it, here by index."""
        np.random.seed(index)
        self._reset()
        self._observation = self._wrapper.set_init_state(self.states[index])
        self._rest()

    def start_placed(self, seed: int, place: Callable[[Scene], None]) -> bool:
        """As LIBERO's own reset lays it out, changed by `place`. False: something rolled away or fell over."""
        np.random.seed(seed % 2**32)
        self._reset()
        place(self)
        self.env.sim.forward()
        return self._rest()

    def put(self, body: str, place: np.ndarray, turn: float) -> None:
        """`place`: [2], or [3] with the height; `turn`: about the vertical, from how it lies."""
        joint = self.env.objects_dict[body].joints[-1]
        pose = self.env.sim.data.get_joint_qpos(joint).copy()
        pose[: len(place)] = place
        about, old, new = np.array([np.cos(turn / 2), 0, 0, np.sin(turn / 2)]), pose[3:].copy(), np.empty(4)
        mujoco.mju_mulQuat(new, about, old)
        pose[3:] = new
        self.env.sim.data.set_joint_qpos(joint, pose)

    def _rest(self) -> bool:
        bodies = [self.body(name) for name in self.objects]
        before = self.data.xpos[bodies][:, :2].copy()
        upright = self.data.xmat[bodies].reshape(-1, 3, 3)[:, 2].copy()
        for _ in range(WAIT):
            self.step(IDLE)
        moved = np.linalg.norm(self.data.xpos[bodies][:, :2] - before, axis=1)
        tilt = np.sum(self.data.xmat[bodies].reshape(-1, 3, 3)[:, 2] * upright, axis=1)
        return bool(moved.max() < ROLLED and tilt.min() > 0.95)

    def step(self, action: np.ndarray | tuple[float, ...]) -> bool:
        """One step of 50 ms; true when the goal is reached."""
        self._stepping = True
        self._observation, _, done, _ = self._wrapper.step(action)
        self._stepping = False
        return bool(done)

    def state(self) -> np.ndarray:
        """float32 [8]"""
        seen = self._observation
        parts = [seen["robot0_eef_pos"], axis_angle(seen["robot0_eef_quat"]), seen["robot0_gripper_qpos"]]
        return np.concatenate(parts).astype(np.float32)

    def frames(self) -> dict[str, np.ndarray]:
        """uint8 RGB [side, side, 3] by camera of the policy, turned as in LIBERO's training data."""
        return {name: self._renderer(camera) for name, camera in self._cameras.items()}

    def positions(self, bodies: list[str] | None = None) -> np.ndarray:
        """float32 [bodies, 3], metres; a name may be that of a site. Default: of the objects."""
        return np.array([self._position(name) for name in bodies or self.objects], dtype=np.float32)

    def _position(self, name: str) -> np.ndarray:
        if name in self.env.object_sites_dict:
            return self.data.site_xpos[self.model.site(name).id]
        return self.data.xpos[self.body(name)]

    def pixels(self, bodies: list[str]) -> np.ndarray:
        """float32 [cameras, bodies, 2]: (x, y) in the frames as fractions of the side; NaN behind the camera."""
        at = self.positions(bodies)
        return np.stack([self._project(camera, at) for camera in self._cameras.values()]).astype(np.float32)

    def _project(self, camera: int, points: np.ndarray) -> np.ndarray:
        near = (points - self.data.cam_xpos[camera]) @ self.data.cam_xmat[camera].reshape(3, 3)
        depth = -near[:, 2]
        scale = 0.5 / np.tan(np.radians(self.model.cam_fovy[camera]) / 2)
        place = 0.5 - scale * near[:, :2] / np.maximum(depth, 1e-6)[:, None]  # turned: x runs to the left
        return np.where(depth[:, None] > 0.01, place, np.nan)

    def close(self) -> None:
        self._renderer.close()
        self._wrapper.close()


def surface(scene: Scene, body: int, grid: float = np.inf) -> np.ndarray:
    """[points, 3] of the collision geometry of a body and what hangs on it, in the world. Of boxes the corners, and
    points between them no farther apart than `grid` metres."""
    model, data = scene.model, scene.data
    bodies = {body}
    for child in range(1, model.nbody):
        if model.body_parentid[child] in bodies:
            bodies.add(child)
    found = [np.empty((0, 3))]
    for geom in range(model.ngeom):
        if model.geom_bodyid[geom] not in bodies or model.geom_group[geom] != 0:
            continue
        kind, size = model.geom_type[geom], model.geom_size[geom]
        if kind == mujoco.mjtGeom.mjGEOM_MESH:
            mesh = model.geom_dataid[geom]
            start = model.mesh_vertadr[mesh]
            local = model.mesh_vert[start : start + model.mesh_vertnum[mesh]]
        elif kind in (mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_CAPSULE):
            angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            ring = np.stack([size[0] * np.cos(angle), size[0] * np.sin(angle)], 1)
            local = np.concatenate([np.c_[ring, np.full(24, z)] for z in (-size[1], size[1])])
        else:
            half = size if kind == mujoco.mjtGeom.mjGEOM_BOX else np.full(3, size[0])
            ends = [np.linspace(-one, one, 2 + int(2 * one / grid)) for one in half]
            local = np.array(np.meshgrid(*ends)).reshape(3, -1).T
        found.append(local @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom])
    return np.concatenate(found)
