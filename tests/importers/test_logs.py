"""Logs of nanoGPT and nanochat: what they state, and at which step it was true."""

from pathlib import Path

import pytest

from scalefit.errors import DataError
from scalefit.importers.imported import Imported
from scalefit.importers.logs import lines_kind, read_logs, read_results
from tests.importers.written import nanochat_log, nanogpt_log

LOSSES = {0: 10.8, 1000: 4.5217, 2000: 3.7927}
HEADER = (
    "flops_budget,depth,model_dim,params_wte,params_bigram_embed,params_value_embeds,params_lm_head,"
    "params_transformer,params_scalars,params_total,num_iterations,tokens_trained,val_bpb,"
    "core_score,train_time_sec\n"
)


def read(tmp_path: Path, text: str, kind: str, name: str = "gpt2.log") -> Imported:
    path = tmp_path / name
    path.write_text(text)
    return read_logs([path], kind, str(path))


def test_a_log_of_nanogpt_gives_its_losses_by_step(tmp_path: Path) -> None:
    found = read(tmp_path, nanogpt_log(LOSSES), "nanogpt")
    assert found.runs == ["gpt2"]
    assert found.frame["step"].tolist() == list(LOSSES)
    assert found.frame["val_loss"].tolist() == list(LOSSES.values())
    assert found.frame["train_loss"].tolist() == pytest.approx([x - 0.01 for x in LOSSES.values()])
    assert found.frame["loss"].tolist() == pytest.approx([x + 0.02 for x in LOSSES.values()])


def test_nanogpt_states_exact_parameters_by_those_of_its_optimiser(tmp_path: Path) -> None:
    facts = read(tmp_path, nanogpt_log(LOSSES), "nanogpt").facts["gpt2"]
    assert facts["params_total"].value == 124_354_560 + 19_200
    assert facts["tokens_per_step"].value == 491_520
    assert facts["lr"].value == 6e-4
    assert facts["depth"].value == 12
    assert facts["loss_unit"].value == "nats/token"


def test_without_those_the_rounded_number_stands_and_says_what_it_leaves_out(
    tmp_path: Path,
) -> None:
    fact = read(tmp_path, nanogpt_log(LOSSES, counts=False), "nanogpt").facts["gpt2"]
    assert fact["params_total"].value == 123_590_000
    assert "without position embeddings" in fact["params_total"].origin


def test_a_log_of_nanochat_gives_bits_per_byte_and_its_counts(tmp_path: Path) -> None:
    found = read(tmp_path, nanochat_log({0: 3.2, 400: 1.1, 840: 0.98}), "nanochat", "d8.log")
    assert found.frame["val_bpb"].tolist() == [3.2, 1.1, 0.98]
    assert found.frame["wall_seconds"].tolist()[:2] == pytest.approx([0, 40.2])
    facts = {name: fact.value for name, fact in found.facts["d8"].items()}
    assert facts["params_total"] == 125_829_136
    assert facts["params_embedding"] == 16_777_216 + 67_108_864
    assert facts["params_head"] == 16_777_216
    assert facts["params_non_embedding"] == 25_165_824 + 16
    assert facts["tokens_per_step"] == 524_288
    assert facts["flops_per_token"] == 2.5e8
    assert (facts["depth"], facts["width"]) == (8, 512)
    assert facts["device"] == "NVIDIA H100 80GB HBM3"


def test_groups_that_do_not_add_up_are_not_taken_for_parts(tmp_path: Path) -> None:
    text = nanochat_log({0: 3.2, 840: 0.98}, total="225,829,136")
    facts = read(tmp_path, text, "nanochat", "d8.log").facts["d8"]
    assert facts["params_total"].value == 225_829_136
    assert "params_embedding" not in facts


def test_lines_of_other_ranks_between_the_counts_are_passed_over(tmp_path: Path) -> None:
    text = nanochat_log({0: 3.2, 840: 0.98})
    text = text.replace("lm_head ", "[GC rank6] gen2: 182.1ms collected 0 objects\nlm_head ")
    facts = read(tmp_path, text, "nanochat", "d8.log").facts["d8"]
    assert facts["params_total"].value == 125_829_136
    assert facts["params_head"].value == 16_777_216


def test_older_lines_of_nanochat_are_read(tmp_path: Path) -> None:
    text = (
        "num_layers: 20\nmodel_dim: 1280\nNumber of parameters: 560,988,160\n"
        "Estimated FLOPs per token: 3.491758e+09\n"
        "Total batch size 524,288 => gradient accumulation steps: 1\n"
        "Step 00250 | Validation bpb: 1.2345\nstep 00251/21400 (1.17%) | loss: 4.5 | lrm: 1.00\n"
    )
    found = read(tmp_path, text, "nanochat", "d20.log")
    facts = {name: fact.value for name, fact in found.facts["d20"].items()}
    assert facts["params_total"] == 560_988_160
    assert (facts["depth"], facts["width"]) == (20, 1280)
    assert found.frame["train_loss"].dropna().tolist() == [4.5]


def test_a_diverged_loss_is_not_an_absent_one(tmp_path: Path) -> None:
    text = "step 10: train loss nan, val loss nan\niter 20: loss 3.0, time 1ms\n"
    values = read(tmp_path, text, "nanogpt").frame["val_loss"]
    assert values.tolist()[0] == float("inf")
    assert values.isna().tolist() == [False, True]


def test_a_resumed_run_logs_a_step_twice_and_the_last_counts(tmp_path: Path) -> None:
    text = nanogpt_log({1000: 4.5, 2000: 4.0}) + nanogpt_log({2000: 3.9, 3000: 3.5})
    found = read(tmp_path, text, "nanogpt")
    assert found.frame["val_loss"].tolist() == [4.5, 3.9, 3.5]
    assert found.notes == (
        "3 values were logged again at the same step: the last of each is taken",
    )


def test_files_with_names_that_say_nothing_are_called_after_their_folder(tmp_path: Path) -> None:
    paths = []
    for folder in ("d8", "d12"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "train.log")
        paths[-1].write_text(nanogpt_log(LOSSES))
    assert read_logs(paths, "nanogpt", "two").runs == ["d8", "d12"]
    twins = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        twins.append(tmp_path / folder / "gpt.log")
        twins[-1].write_text(nanogpt_log(LOSSES))
    assert read_logs(twins, "nanogpt", "two").runs == ["a/gpt", "b/gpt"]


def test_a_text_without_losses_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no line of a loss as nanogpt prints it"):
        read(tmp_path, "hello\n", "nanogpt")


def test_kinds_are_told_by_lines() -> None:
    assert lines_kind(nanogpt_log(LOSSES)) == "nanogpt"
    assert lines_kind(nanochat_log(LOSSES)) == "nanochat"
    assert lines_kind("[rank0] iter 3: loss 2.0, time 3ms") == "nanogpt"
    assert lines_kind("the loss of time") is None


def test_the_table_of_nanochats_sweeps_is_read(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text(
        HEADER
        + "1e18,8,512,16777216,0,67108864,1,25165824,16,125829136,840,440401920,0.98,0.1,90\n"
        + "2.15e18,8,512,16777216,0,67108864,1,25165824,16,125829136,1680,880803840,0.9,0.1,9\n"
    )
    found = read_results(path)
    assert found.runs == ["1e+18_d8", "2.15e+18_d8"]
    assert found.frame["step"].tolist() == [840, 1680]
    assert found.facts["1e+18_d8"]["tokens_per_step"].value == 524_288
    assert found.facts["1e+18_d8"]["params_total"].value == 125_829_136


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1e18,deep,512,1,0,1,1,1,1,5,840,440401920,0.98,0.1,90\n", "data row 1: depth"),
        ("1e18,8,512,1,0,1,1,1,1,5,840,440401920,0.98,0.1,90\n" * 2, "two rows of the run"),
    ],
)
def test_a_broken_table_of_nanochat_is_refused(tmp_path: Path, row: str, said: str) -> None:
    path = tmp_path / "results.csv"
    path.write_text(HEADER + row)
    with pytest.raises(DataError, match=said):
        read_results(path)
