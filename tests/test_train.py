import json
import sys
from functools import partialmethod
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from open_clip.model import CLIP

from derain_video.export.runtime import load as load_runtime
from derain_video.models import perception
from derain_video.models.align import COARSE, FINE
from derain_video.models.perception import ClipError, blank
from derain_video.models.store import WEIGHTS, load, save, subnet
from derain_video.models.subnet import DerainNet, Mirrored
from derain_video.models.train import ablation, cli, data, growth, loop
from derain_video.models.train.__main__ import main
from derain_video.models.train.clutter import barred, passed, strewn
from derain_video.models.train.footage import Scene, cut
from derain_video.models.train.footage import load as load_footage
from derain_video.models.train.rain import bank
from derain_video.pipeline.derain import thumbnails


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.float32)
    for k in range(2):
        picture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3 + k), None, 30, 200, cv2.NORM_MINMAX)
        cv2.imwrite(str(folder / f"{k}.png"), picture.astype(np.uint8))
    return folder


def test_a_run_writes_weights_and_a_second_one_goes_on(footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, runs = tmp_path / "weights", tmp_path / "runs"

    def train(what: str, minutes: float, attention: str = "plain") -> int:
        sizes = ["--batch", "2", "--storms", "6", "--threads", "1", "--device", "cpu", "--attention", attention]
        return main([what, str(footage), "--minutes", str(minutes), "--weights", str(weights), "--runs", str(runs), *sizes])

    assert train("generalist", 0.03) == 0
    first = json.loads((runs / "fast_generalist.jsonl").read_text().splitlines()[-1])
    assert train("generalist", 0.06) == 0
    second = json.loads((runs / "fast_generalist.jsonl").read_text().splitlines()[-1])
    assert second["step"] > first["step"] > 0
    _, metadata = load(weights / "fast_generalist.safetensors")
    assert metadata["steps"] == str(second["step"])
    assert metadata["command"].startswith("derain-train")
    spec = subnet("generalist", folder=weights).spec
    assert (spec.name, spec.attention) == ("fast", "plain")
    assert train("generalist", 0.09, "none") == 2
    assert "fast_generalist.pt: is of a run with attention plain, not none; give the same, or another --runs" in capsys.readouterr().err
    (runs / "fast_generalist.pt").write_bytes((runs / "fast_generalist.pt").read_bytes()[:5000])
    assert train("generalist", 0.09) == 2
    assert "fast_generalist.pt: is no checkpoint of this run; remove it" in capsys.readouterr().err


def test_an_ablation_is_equal_in_all_but_one_thing_and_repeats_nothing(footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"

    def ablate(steps: int) -> tuple[int, dict[str, list[str]]]:
        sizes = ["--batch", "2", "--storms", "6", "--threads", "1", "--device", "cpu", "--samples", "4", "--steps", str(steps)]
        code = main(["ablation", str(footage), "--val", str(footage), "--runs", str(runs), *sizes])
        lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
        return code, {line[0]: line[1:-2] for line in lines[1:]}  # all but the times

    code, first = ablate(2)
    assert code == 0 and list(first) == ["ships", "l1", "l2", "charbonnier", "attention plain", "attention none"]
    kept = runs / "ablation"
    (kept / "fast_ships_1.json").unlink()
    (kept / "fast_l2_1.json").write_text(json.dumps({"figures": {"clear": 1, "light": 2, "heavy": 3, "downpour": 7}}))
    _, second = ablate(2)
    assert second["l2"][:4] == ["2.00", "3.00", "7.00", "4.00"]
    logs = {path.stem: [json.loads(line)["loss"] for line in path.read_text().splitlines()] for path in kept.glob("*.jsonl")}
    once, repeated = logs["fast_ships_1"]
    assert once == repeated and len(logs["fast_l2_1"]) == 1
    assert len({log[0] for name, log in logs.items() if "attention" not in name}) == 4
    assert ablate(3)[0] == 2


def test_an_ablation_of_shapes_and_of_a_teacher(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ablation, "SHAPES", {name: ablation.SHAPES[name] for name in ("branched", "early drop")})
    sizes = ["--vary", "shape", "teacher", "--batch", "2", "--storms", "6", "--threads", "1", "--device", "cpu", "--samples", "2", "--steps", "1"]
    given = ["ablation", str(footage), "--val", str(footage), "--runs", str(tmp_path), *sizes]
    assert main([*given, "--size", "quality"]) == 2
    assert "--vary shape: shapes are of --size fast, not of quality" in capsys.readouterr().err
    assert main([*given, "--weights", str(tmp_path)]) == 2
    assert "quality_generalist.safetensors: no weights there" in capsys.readouterr().err
    assert main(given) == 0
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    work = {line[0]: float(line[-3]) for line in lines[1:]}
    assert list(work) == ["ships", "branched", "early drop", "taught"]
    assert work["ships"] == work["branched"] == work["taught"] < work["early drop"] < 10
    losses = {path.stem: json.loads(path.read_text())["loss"] for path in (tmp_path / "ablation").glob("*.jsonl")}
    assert len(losses) == len(set(losses.values())) == len(work)


def test_a_teacher_moves_the_truth_halfway_to_what_it_makes() -> None:
    y, uv, near = torch.full((1, 32, 32), 90), torch.full((2, 16, 16), 128), torch.full((4, 32, 32), 90)
    truths = [torch.full((1, 32, 32), value) for value in (60, 80)]
    samples = [data.Sample(*(plane.byte() for plane in (y, uv, near, truth, 0 * y)), pattern=2) for truth in truths]
    one, other = (sample.clean_y.float() for sample in ablation.taught(samples, WEIGHTS / "quality_generalist.safetensors"))
    assert (other - one).unique().tolist() == [10]
    made = 2 * one - 60
    assert (made - 90).abs().max() < 10  # a flat dry scene is left nearly alone


def test_a_wrong_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generalist", str(tmp_path / "nowhere")]) == 2
    error = capsys.readouterr().err
    assert "nowhere: no such folder" in error and error.count("\n") == 1


def test_an_ablation_needs_steps_to_count_and_frames_to_judge_by(footage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablation", str(footage), "--steps", "5"]) == main(["ablation", str(footage), "--val", str(footage)]) == 2
    assert capsys.readouterr().err.count("give --steps N and --val FOLDER\n") == 2
    with pytest.raises(SystemExit, match="2"):
        main(["ablation", str(footage), "--val", str(footage), "--steps", "0"])
    assert "--steps: '0': give a whole number" in capsys.readouterr().err


def test_several_specialists_have_their_own_beginning(footage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for patterns in ([], ["--pattern", "past", "--pattern", "light"]):
        assert main(["specialist", str(footage), *patterns, "--start", "mine.safetensors"]) == 2
        error = capsys.readouterr().err
        assert "--start mine.safetensors" in error and error.count("\n") == 1


def test_a_size_with_one_network_has_no_specialists(footage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["specialist", str(footage), "--size", "quality"]) == 2
    assert "--size quality: one network serves every pattern" in capsys.readouterr().err
    alone, still = subnet("light", "quality"), subnet("still", "quality")
    assert isinstance(alone, DerainNet) and isinstance(still, Mirrored)
    for net, file in ((alone, "quality_generalist"), (still.net, "quality_still")):
        kept = load(WEIGHTS / f"{file}.safetensors")[0]
        assert all(torch.equal(net.state_dict()[name], kept[name].float()) for name in kept)


def test_all_trains_what_ships_each_after_what_it_begins_from(footage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[loop.Recipe] = []
    monkeypatch.setattr(cli, "_check_starts", None)  # it makes them itself
    monkeypatch.setattr(cli.clip, "train", lambda *_: None)
    monkeypatch.setattr(cli, "run", lambda recipe, *_: made.append(recipe))
    assert main(["all", str(footage), "--weights", "w"]) == 0
    fast = ["fast_generalist", "fast_light", "fast_heavy", "fast_downpour", "fast_past"]
    assert [recipe.name for recipe in made] == [*fast, "quality_generalist", "quality_still"]
    assert [recipe.start and recipe.start.stem for recipe in made] == [None, *["fast_generalist"] * 4, None, "quality_generalist"]
    assert [recipe.thumbs for recipe in made] == [None] * 5 + [Path("w/fast_generalist.safetensors")] * 2


def test_a_missing_beginning_is_one_line(footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for what in (["clip"], ["generalist"], ["specialist", "--pattern", "past"]):
        assert main([*what, str(footage), "--start", str(tmp_path / "none"), "--runs", str(tmp_path / "runs")]) == 2
        error = capsys.readouterr().err
        assert "none: no weights there" in error and error.count("\n") == 1


def test_a_beginning_that_is_none_is_one_line(footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"{}")
    for start, said in ((junk, "is no whole file of weights"), (WEIGHTS / "quality_still.safetensors", "a network of another shape")):
        assert main(["generalist", str(footage), "--steps", "1", "--start", str(start), "--runs", str(tmp_path), "--weights", str(tmp_path)]) == 2
        assert f"{start}: " in (told := capsys.readouterr().err) and said in told


def test_footage_without_pictures_is_named(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        out.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(ValueError, match=r"sound\.mp4: .*: there is no video in it"):
        load_footage([tmp_path])


def test_a_deeper_clip_begins_as_the_shallower_one_that_it_starts_from(tmp_path: Path) -> None:
    whole = blank().eval()
    save(tmp_path / "shallow.safetensors", {name: value for name, value in whole.state_dict().items() if not growth.BLOCK.match(name)}, {})
    begun = growth.begun(tmp_path / "shallow.safetensors").eval()
    for stage in ("layer1", "layer2", "layer3"):
        setattr(whole.visual, stage, getattr(whole.visual, stage)[:1])
    views = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(begun.encode_image(views), whole.encode_image(views))
    save(tmp_path / "other.safetensors", {"stem.weight": torch.zeros(1)}, {})
    with pytest.raises(ClipError, match=r"other\.safetensors: not weights of derain-small"):
        growth.begun(tmp_path / "other.safetensors")
    with pytest.raises(ClipError, match=r"other\.safetensors: not weights of derain-small"):
        perception.clip(perception.SMALL, str(tmp_path / "other.safetensors"))


def test_a_wider_clip_begins_as_the_narrower_one_that_it_starts_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = blank()
    shape = json.loads((Path(perception.__file__).parent / f"{perception.SMALL}.json").read_text())
    shape["vision_cfg"]["width"] -= 8
    narrow = CLIP(**shape).eval()
    save(tmp_path / "narrow.safetensors", narrow.state_dict(), {})
    monkeypatch.setattr(growth, "PARTING", 0.0)
    begun = growth.begun(tmp_path / "narrow.safetensors").eval()
    assert begun.state_dict()["visual.conv1.weight"].shape == whole.state_dict()["visual.conv1.weight"].shape
    views = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(begun.encode_image(views), narrow.encode_image(views), atol=1e-4)
    monkeypatch.undo()
    save(tmp_path / "wide.safetensors", {**whole.state_dict(), "visual.conv1.weight": torch.zeros(99, 3, 3, 3)}, {})
    with pytest.raises(ClipError, match=r"wide\.safetensors: not weights of derain-small"):
        growth.begun(tmp_path / "wide.safetensors")
    twins = growth.begun(tmp_path / "narrow.safetensors").visual.conv1.weight
    assert not torch.equal(twins[0], twins[len(narrow.visual.conv1.weight)])  # doubled channels differ, or they would stay the same


def test_poles_wires_and_letters_are_part_of_the_scene_and_cover_little_of_it() -> None:
    scene = np.full((120, 160), 60, np.uint8)
    painted = [strewn(torch.Generator().manual_seed(seed), scene) for seed in range(12)]
    assert all(one.dtype == np.uint8 and one.shape == scene.shape for one in painted)
    assert 0 < np.mean([one != scene for one in painted]) < 0.3
    assert np.mean(np.concatenate([one[one != scene] for one in painted]) > 60) > 0.5  # most are brighter, as rain is


def test_what_is_strewn_over_a_still_is_in_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "STREWN", 1.0)
    monkeypatch.setattr(data, "strewn", lambda g, y: np.full_like(y, 200))
    storms = bank(torch.Generator().manual_seed(0), 4)
    still = Scene("grey", np.full((1, 320, 320), 60, np.uint8), np.full((1, 2, 160, 160), 128, np.uint8))
    clips = [data.render(torch.Generator().manual_seed(3), still, storms, "clear", frames, 64) for frames in (3, 1)]
    assert float(clips[0].clean_y.min()) > 0.5  # seen with its neighbours
    assert float(clips[1].clean_y.max()) < 0.5  # alone nobody could tell it from rain


def test_bars_stand_still_and_leave_the_scene_between_them() -> None:
    y = torch.full((2, 96, 96), 0.5)
    for seed in range(6):
        seen = barred(torch.Generator().manual_seed(seed), y)
        changed = (seen - y).abs()
        assert torch.equal(seen[0], seen[1]) and float(seen.min()) >= 0 and float(seen.max()) <= 1
        assert float(changed.min()) < 0.1 * float(changed.max())


def test_marks_that_pass_are_bright_and_elsewhere_in_each_frame() -> None:
    scene = torch.full((5, 96, 128), 0.3)
    drawn = [passed(torch.Generator().manual_seed(seed), scene) for seed in range(8)]
    assert all(y.min() >= 0.3 - 1e-6 and y.max() <= 1 for y in drawn)
    marks = [one > 0.35 for one in drawn]
    assert 0.001 < torch.stack(marks).float().mean() < 0.2
    assert sum(not torch.equal(mark[1], mark[2]) for mark in marks) >= 6


def test_missing_weights_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="derain-train"):
        subnet("light", folder=tmp_path)


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in sys.modules if name.startswith("derain_video.models.train.") and not name.endswith("__main__")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["generalist", "."]) == 2
    assert "pip install 'derain-video[train]'" in capsys.readouterr().err


@pytest.mark.parametrize("frames", [1, 5])
def test_a_scene_smaller_than_the_window_fills_it(frames: int) -> None:
    scene = Scene("small", np.full((5, 100, 140), 90, np.uint8), np.full((5, 2, 50, 70), 128, np.uint8))
    y, uv = cut(torch.Generator().manual_seed(0), scene, frames, 160)
    assert y.shape == (frames, 160, 160) and uv.shape == (frames, 2, 80, 80)
    assert bool(((y * 255).round() == 90).all())


def test_a_compiled_step_is_the_same_step_under_the_same_names(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = partialmethod(torch.nn.Module.compile, backend="aot_eager", fullgraph=True)  # the inductor would take a minute
    monkeypatch.setattr(loop.DerainNet, "compile", traced)
    g = torch.Generator().manual_seed(0)
    planes = tuple(torch.rand(2, channels, side, side, generator=g) for channels, side in ((1, 64), (2, 32), (4, 64), (1, 64), (1, 64)))
    plain, compiled = (loop.Training(loop.Recipe("fast_generalist", 1, steps=9), "cpu", how) for how in (False, True))
    losses = [[training.learn(planes) for _ in range(2)] for training in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    for name, value in plain.mean.state_dict().items():
        assert torch.allclose(value, compiled.mean.state_dict()[name], atol=1e-3), name
    assert compiled.net.state_dict().keys() == plain.net.state_dict().keys()
    assert (compiled.net._compiled_call_impl is None, plain.net._compiled_call_impl is None) == (False, True)


def test_a_missing_compiler_is_one_line(footage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CXX", "no-compiler")
    assert main(["generalist", str(footage), "--compile"]) == 2
    error = capsys.readouterr().err
    assert "no-compiler" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("pattern", "windows"),
    [
        ("still", {(1, 0, 0)}),
        ("past", {(n, n - 1, 0) for n in range(2, 8)}),
        ("heavy", {(7, 3, 3), (2, 0, 1), (3, 0, 2), (4, 0, 3), (3, 1, 1), (4, 1, 2), (5, 1, 3), (6, 2, 3)}),
    ],
)
def test_each_network_learns_from_the_windows_it_will_see(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, windows: set[tuple[int, int, int]]
) -> None:
    scene, g, seen = load_footage([footage])[0], torch.Generator().manual_seed(1), set()
    rendered = data.render(g, scene, {}, "clear")
    monkeypatch.setattr(data, "render", lambda *_, **__: rendered)
    monkeypatch.setattr(data, "compress", lambda _, y, uv: (y, uv))
    monkeypatch.setattr(data, "near", lambda window, centre, after: seen.add((len(window), centre, after)) or np.zeros((4, 256, 256), np.uint8))
    making = loop.specialist(pattern, 1, "quality" if pattern == "still" else "fast", tmp_path, 1).making
    for _ in range(300):
        making(g, scene, {}, "clear")
    assert seen == windows


@pytest.mark.parametrize("size", ["fast", "quality"])
def test_training_derains_thumbnails_as_the_pipeline_does(size: str) -> None:
    draw = np.random.default_rng(0)
    luma = draw.integers(60, 200, (45, 70), np.uint8)
    state = np.sort(draw.integers(40, 160, (4, 45, 70), np.uint8), 0)
    fast = WEIGHTS / "fast_heavy.safetensors"
    recipe = loop.Recipe(f"{size}_generalist", 1, size, start=fast if size == "fast" else None, thumbs=fast)
    made = recipe.see.keywords["derain"](luma, state)
    runtime = load_runtime("torch", model=size, precision="fp32")
    wanted = thumbnails(runtime, "heavy", live=False)(luma, state)
    assert recipe.see.keywords["sight"] == (COARSE if size == "fast" else FINE)
    assert not np.array_equal(made, luma) and np.array_equal(made, wanted)
