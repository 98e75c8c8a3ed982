"""Event files, as tensorboard's and torch's writers write them."""

import sys
from pathlib import Path

import pytest

from scalefit.errors import DataError
from scalefit.importers.tensorboard import event_files, is_events, read_events

pytest.importorskip("tensorboard", reason="reads event files: the extra tensorboard")

CURVE = {0: 4.0, 10: 3.5, 20: 3.25}


def write(folder: Path, curve: dict[int, float], tag: str = "val/loss", *, tensors: bool) -> Path:
    """An event file of plain floats, or of tensors as TensorFlow 2 writes them."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    writer = EventFileWriter(str(folder))
    for step, loss in curve.items():
        value = Summary.Value(tag=tag)
        if tensors:
            value.tensor.CopyFrom(make_tensor_proto(loss))
            data = SummaryMetadata.PluginData(plugin_name="scalars")
            value.metadata.CopyFrom(SummaryMetadata(plugin_data=data))
        else:
            value.simple_value = loss
        writer.add_event(Event(step=step, summary=Summary(value=[value])))
    writer.close()
    return event_files(folder)[-1]


@pytest.mark.parametrize("tensors", [False, True])
def test_scalars_are_read_as_floats_and_as_tensors(tmp_path: Path, tensors: bool) -> None:
    path = write(tmp_path / "d8", CURVE, tensors=tensors)
    assert is_events(path.read_bytes())
    found = read_events([path], str(path))
    assert found.runs == ["d8"]
    assert dict(zip(found.frame["step"], found.frame["val/loss"], strict=True)) == CURVE
    assert found.notes == ()


def test_each_folder_is_a_run(tmp_path: Path) -> None:
    for run in ("d8", "sweep/d12"):
        write(tmp_path / run, CURVE, tensors=False)
    write(tmp_path / "d8", {30: 3.0}, "train/loss", tensors=False)
    found = read_events(event_files(tmp_path), str(tmp_path))
    assert found.runs == ["d8", "sweep/d12"]
    assert found.metrics == ["train/loss", "val/loss"]
    assert found.frame[found.frame["run"] == "d8"]["step"].tolist() == [0, 10, 20, 30]


def test_torchs_writer_is_read(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch.utils.tensorboard writes the file")
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(tmp_path / "gpt"))
    for step, loss in CURVE.items():
        writer.add_scalar("val/loss", loss, step)
    writer.add_scalar("val/loss", float("nan"), 30)
    writer.add_text("notes", "hello")
    writer.close()
    found = read_events(event_files(tmp_path), str(tmp_path))
    assert found.frame["val/loss"].tolist() == [*CURVE.values(), float("inf")]
    assert found.metrics == ["val/loss"]


def test_a_torn_end_is_left_out_and_said(tmp_path: Path) -> None:
    path = write(tmp_path, CURVE, tensors=False)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    found = read_events([path], str(path))
    assert found.frame["step"].tolist() == [0, 10]
    assert len(found.notes) == 1
    assert f"of {len(whole) - 7} bytes are torn and left out" in found.notes[0]


def test_damage_in_the_middle_is_said_not_hidden(tmp_path: Path) -> None:
    path = write(tmp_path, CURVE, tensors=False)
    whole = bytearray(path.read_bytes())
    whole[-60] ^= 255
    path.write_bytes(bytes(whole))
    assert "torn and left out" in read_events([path], str(path)).notes[0]


def test_a_file_without_scalars_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {}, tensors=False)
    with pytest.raises(DataError, match="holds no measurement"):
        read_events([path], str(path))


def test_without_tensorboard_the_command_that_installs_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, CURVE, tensors=False)
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing.event_file_loader", None)
    with pytest.raises(DataError, match=r'pip install "scalefit\[tensorboard\]"'):
        read_events([path], str(path))
