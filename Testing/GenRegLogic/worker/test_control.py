"""What a running job sends to the program and how often, the answers that it receives, and subsampled previews."""

import numpy as np
import pytest

from GenRegLogic.errors import Cancelled
from GenRegLogic.progress import Progress
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.worker.control import PREVIEW_SECONDS, PREVIEW_VOXELS, PROGRESS_SECONDS, JobControl, thinned
from GenRegLogic.worker.messages import CHUNK, MESSAGE, encode

GRID = Geometry((4, 5, 6))


class FakeServer:
    """A stand-in for the server: records what is sent, and returns the messages that `say` has added."""

    def __init__(self):
        self.sent, self.frames, self.heeded = [], [], True

    def send(self, message, arrays=None):
        self.sent.append(message)

    def say(self, **message):
        self.frames.append((MESSAGE, encode(message)))

    def pending(self):
        while self.frames:
            yield self.frames.pop(0)

    def of(self, kind):
        return [message for message in self.sent if message["type"] == kind]


class Scene:
    """A `JobControl` with a stand-in for its server and a clock that the test sets."""

    def __init__(self, **parameters):
        self.server, self.now, self.asked = FakeServer(), 0.0, 0
        self.control = JobControl(self.server, parameters, clock=lambda: self.now)

    def field(self):
        self.asked += 1
        return DisplacementField(np.zeros((*GRID.shape, 3)), GRID)

    def tell(self, stage="refine", objective=None, after=0.0, field=None):
        self.now += after
        place = (None, None) if objective is None else (1, 7)
        self.control.on_progress(Progress(stage, 0.5, None, objective, field or self.field, *place))


class TestProgress:
    def test_progress_is_reported_at_most_once_per_interval(self):
        scene = Scene()
        for _ in range(100):
            scene.tell("linear", after=PROGRESS_SECONDS / 10)
        assert 8 < len(scene.server.of("progress")) < 13

    def test_every_objective_is_reported(self):
        scene = Scene()
        for n in range(20):
            scene.tell(objective=float(n))
        assert [m["objective"]["objective"] for m in scene.server.of("progress")] == list(range(20))
        assert scene.server.sent[0]["objective"] == {"level": 1, "iteration": 7, "objective": 0.0}

    def test_every_new_stage_is_reported(self):
        scene = Scene()
        for stage in ("prepare", "linear", "propose"):
            scene.tell(stage)
        assert [m["stage"] for m in scene.server.of("progress")] == ["prepare", "linear", "propose"]

    def test_a_busy_program_receives_only_the_new_stages(self):
        scene = Scene(preview=True)
        scene.server.heeded = False
        for stage in ("linear", "refine"):
            for n in range(5):
                scene.tell(stage, objective=float(n), after=10)
        assert [m["stage"] for m in scene.server.of("progress")] == ["linear", "refine"]


class TestPreviews:
    def test_the_field_is_not_computed_without_previews(self):
        scene = Scene(preview=False)
        scene.tell(after=10)
        assert scene.asked == 0

    def test_no_preview_is_sent_before_the_last_one_was_received(self):
        scene = Scene(preview=True)
        for n in range(5):
            scene.tell(objective=float(n), after=10)
        assert scene.asked == len(scene.server.of("preview")) == 1
        scene.server.say(type="previewed")
        scene.control.cancel()
        scene.tell(after=10)
        assert scene.asked == 2

    def test_no_preview_is_sent_sooner_than_half_a_second_after_another(self):
        scene = Scene(preview=True)
        scene.tell(objective=1.0)
        scene.control.note({"type": "previewed"})
        scene.tell(objective=1.0, after=PREVIEW_SECONDS * 0.9)
        assert scene.asked == 1
        scene.tell(objective=1.0, after=PREVIEW_SECONDS * 0.2)
        assert scene.asked == 2

    def test_no_preview_is_sent_in_a_stage_without_a_field(self):
        scene = Scene(preview=True)
        scene.tell("linear", field=lambda: None)
        assert scene.server.of("preview") == []

    def test_previews_can_be_switched_on_during_a_job(self):
        scene = Scene(preview=False)
        scene.server.say(type="preview", wanted=True)
        scene.control.cancel()
        scene.tell(after=10)
        assert scene.asked == 1


class TestAnswers:
    def test_a_job_continues_without_an_answer(self):
        assert Scene().control.cancel() is None

    def test_an_answer_is_received_and_kept(self):
        scene = Scene()
        scene.server.say(type="answer", word="keep")
        assert scene.control.cancel() == "keep"
        assert scene.control.cancel() == "keep"

    @pytest.mark.parametrize("words", [("keep", "abort"), ("abort", "keep")])
    def test_abort_prevails_over_keep(self, words):
        scene = Scene()
        for word in words:
            scene.server.say(type="answer", word=word)
        assert scene.control.cancel() == "abort"
        with pytest.raises(Cancelled):
            scene.control.check()

    def test_late_chunks_are_ignored(self):
        scene = Scene()
        scene.server.frames.append((CHUNK, b"123"))
        assert scene.control.cancel() is None


class TestThinning:
    @pytest.mark.parametrize("voxels", [8, 100, 2000])
    def test_at_most_the_requested_number_of_voxels_is_kept(self, grid, make_field, voxels):
        array, geometry = thinned(make_field(grid).array, grid, voxels)
        assert array.shape == (*geometry.shape, 3)
        assert voxels / 12 < np.prod(geometry.size) <= voxels

    def test_kept_voxels_have_their_positions_and_values(self, grid, make_field):
        field = make_field(grid)
        array, geometry = thinned(field.array, grid, 500)
        k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
        index = np.rint(grid.to_index(geometry.to_world(np.stack([i, j, k], axis=-1)))).astype(int)
        np.testing.assert_allclose(grid.to_world(index), geometry.to_world(np.stack([i, j, k], axis=-1)), atol=1e-9)
        np.testing.assert_array_equal(array, field.array[index[..., 2], index[..., 1], index[..., 0]])

    def test_a_small_field_is_unchanged(self, grid, make_field):
        field = make_field(grid)
        assert np.prod(grid.size) < PREVIEW_VOXELS
        array, geometry = thinned(field.array, grid)
        np.testing.assert_array_equal(array, field.array)
        assert geometry.is_close(grid, 1e-9)

    def test_the_axis_with_the_smallest_spacing_is_subsampled_first(self, make_field):
        grid = Geometry((40, 40, 10), (1.0, 1.0, 4.0))
        _, geometry = thinned(make_field(grid).array, grid, 4000)
        assert geometry.size == (20, 20, 10)
