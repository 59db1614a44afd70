"""Frames of a MuJoCo scene, drawn in software.

LIBERO's scenes have about 300,000 visible triangles, and drawing them is nearly all of a step's time. `thin` merges the
vertices of the visible meshes, which changes no physics: a frame of 236 pixels takes 8 ms instead of 125.
"""

from __future__ import annotations

import mujoco
import numpy as np

ROBOT = ("robot0", "mount0")


def thin(model: mujoco.MjModel, cell: float = 0.004, robot: float = 0.01) -> tuple[int, int]:
    """Merges the vertices of the visible meshes within cells of these metres, in place.

    Call it before a renderer is made. Returns how many triangles there were and are.
    """
    used: dict[int, list[int]] = {}
    for geom in range(model.ngeom):
        if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
            used.setdefault(int(model.geom_dataid[geom]), []).append(geom)
    before = after = 0
    for mesh, geoms in used.items():
        if any(model.geom_contype[g] or model.geom_conaffinity[g] or model.geom_group[g] != 1 for g in geoms):
            continue
        name = model.body(model.geom_bodyid[geoms[0]]).name
        count = int(model.mesh_facenum[mesh])
        kept = _thin_mesh(model, mesh, robot if name.startswith(ROBOT) else cell)
        before += count
        after += kept
    return before, after


def _thin_mesh(model: mujoco.MjModel, mesh: int, cell: float) -> int:
    count, start = int(model.mesh_facenum[mesh]), int(model.mesh_faceadr[mesh])
    vertices = model.mesh_vert[model.mesh_vertadr[mesh] : model.mesh_vertadr[mesh] + model.mesh_vertnum[mesh]]
    grid = np.floor((vertices - vertices.min(0)) / cell).astype(np.int64)
    _, first, cluster = np.unique(grid, axis=0, return_index=True, return_inverse=True)
    cluster = cluster.reshape(-1)
    sizes = np.bincount(cluster)
    mean = np.stack([np.bincount(cluster, vertices[:, axis]) / sizes for axis in range(3)], axis=1)
    corners = cluster[model.mesh_face[start : start + count]]
    a, b, c = corners.T
    whole = (a != b) & (b != c) & (a != c)
    once = np.zeros(count, bool)
    once[np.unique(np.sort(corners, axis=1), axis=0, return_index=True)[1]] = True
    kept = whole & once
    number = int(kept.sum())
    if number < 4 or number >= count:
        return count
    vertices[first] = mean.astype(vertices.dtype)
    model.mesh_face[start : start + number] = first[corners][kept]
    for values in (model.mesh_facenormal, model.mesh_facetexcoord):
        values[start : start + number] = values[start : start + count][kept]
    model.mesh_facenum[mesh] = number
    return number


class Renderer:
    """One size of frame. `plain`: without multisampling, reflections and shadows, as for training."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, side: int, plain: bool = True) -> None:
        self._model, self._data = model, data
        self._context = mujoco.GLContext(side, side)
        self._context.make_current()
        if plain:
            model.vis.quality.offsamples = 0
        model.vis.global_.offwidth = model.vis.global_.offheight = side
        self._gl = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._gl)
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        if plain:
            self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 0
        self._option.geomgroup[1] = 1
        self._option.sitegroup[:] = 0
        self._perturb = mujoco.MjvPerturb()
        self._view = mujoco.MjrRect(0, 0, side, side)
        self._frame = np.empty((side, side, 3), np.uint8)

    def __call__(self, camera: int) -> np.ndarray:
        """uint8 RGB [side, side, 3] turned by 180 degrees as in LIBERO's training data."""
        self._context.make_current()
        self._camera.fixedcamid = camera
        every = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, self._data, self._option, self._perturb, self._camera, every, self._scene)
        mujoco.mjr_render(self._view, self._scene, self._gl)
        mujoco.mjr_readPixels(self._frame, None, self._view, self._gl)
        return np.ascontiguousarray(self._frame[::-1, ::-1])

    def close(self) -> None:
        self._gl.free()
        self._context.free()
