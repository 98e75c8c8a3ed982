"""The launcher that options mean, and what is said where they do not fit."""

import pytest

from scalefit.errors import GridError
from trainers.launch import choose
from trainers.launch.choose import chosen, leads
from trainers.launch.dask import Dask
from trainers.launch.local import Local
from trainers.launch.slurm import Slurm
from trainers.launch.torchrun import Torchrun


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(choose, "find_spec", lambda _: True)


@pytest.fixture
def together(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")


def test_options_name_a_launcher():
    assert chosen(workers=3) == Local(workers=3)
    assert chosen(device="cuda") == Local(workers=1, device="cuda")
    assert chosen("dask", scheduler="tcp://a:1") == Dask(address="tcp://a:1")
    assert chosen("slurm") == Slurm()
    assert chosen(
        "slurm", device="cuda", workers=5, slurm_minutes=30, slurm_memory="8G", slurm_gpus=None,
        slurm_option=("account=a", "--qos=b=c"),
    ) == Slurm(
        device="cuda", workers=5, minutes=30, memory="8G", gpus=1,
        extra={"account": "a", "qos": "b=c"},
    )  # fmt: skip
    assert chosen("slurm", device="cuda", slurm_gpus=2).gpus == 2
    assert leads()


def test_torchrun_is_recognised(together):
    assert chosen(device="cuda") == Torchrun(device="cuda")
    assert not leads()


@pytest.mark.parametrize(
    ("launcher", "options", "said"),
    [("local", {"scheduler": "tcp://a:1"}, "--scheduler means nothing with --launcher local"),
     ("dask", {}, "--launcher dask needs --scheduler ADDRESS"),
     ("dask", {"scheduler": "a", "workers": 2}, "--workers means nothing with --launcher dask"),
     ("local", {"slurm_minutes": 3}, "--slurm-minutes means nothing with --launcher local"),
     ("dask", {"slurm_option": ("a=b",)}, "--slurm-option means nothing with --launcher dask"),
     ("slurm", {"slurm_option": ("account",)}, '--slurm-option "account" must be NAME=VALUE'),
     ("pbs", {}, "there is no launcher pbs; there are local, slurm, dask")],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(launcher, options, said):
    with pytest.raises(GridError) as caught:
        chosen(launcher, **options)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"workers": 2}, "--workers means nothing under torchrun"),
     ({"launcher": "slurm"}, "leave out --launcher slurm"),
     ({"device": "cuda:1"}, "under torchrun --device is cpu or cuda, not cuda:1")],
)  # fmt: skip
def test_what_does_not_fit_torchrun_is_one_sentence(together, options, said):
    with pytest.raises(GridError) as caught:
        chosen(**options)
    assert said in str(caught.value)


@pytest.mark.parametrize("launcher", ["slurm", "dask"])
def test_a_missing_package_says_how_to_install_it(launcher, monkeypatch):
    monkeypatch.setattr(choose, "find_spec", lambda _: None)
    options = {"scheduler": "tcp://a:1"} if launcher == "dask" else {}
    with pytest.raises(GridError) as caught:
        chosen(launcher, **options)
    assert f'pip install "scalefit[{launcher}]"' in str(caught.value)
