"""Files as the tools write them, in their real shapes, from numbers of the test."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

Curve = Mapping[int, float]


def nanogpt_log(losses: Curve, *, per_step: str = "491,520", counts: bool = True) -> str:
    """What train.py of nanoGPT prints (karpathy/nanoGPT, train.py and model.py)."""
    head = [
        "Overriding config with config/train_gpt2.py:",
        "learning_rate = 6e-4 # max learning rate",
        "n_layer = 12",
        f"tokens per iteration will be: {per_step}",
        "number of parameters: 123.59M",
        *(
            [
                "num decayed parameter tensors: 50, with 124,354,560 parameters",
                "num non-decayed parameter tensors: 25, with 19,200 parameters",
            ]
            if counts
            else []
        ),
        "using fused AdamW: True",
    ]
    body = []
    for step, loss in losses.items():
        body += [
            f"step {step}: train loss {loss - 0.01:.4f}, val loss {loss:.4f}",
            "saving checkpoint to out",
            f"iter {step}: loss {loss + 0.02:.4f}, time 9827.31ms, mfu 13.70%",
        ]
    return "\n".join([*head, *body]) + "\n"


def nanochat_log(losses: Curve, *, total: str = "125,829,136") -> str:
    """What base_train.py of nanochat prints (karpathy/nanochat, scripts/base_train.py)."""
    last = max(losses)
    head = f"""GPU: NVIDIA H100 80GB HBM3 | Peak FLOPS (BF16): 9.89e+14
Vocab size: 32,768
Model config:
{{
  "sequence_len": 2048,
  "n_layer": 8,
  "n_embd": 512
}}
Parameter counts:
wte                     : 16,777,216
value_embeds            : 67,108,864
lm_head                 : 16,777,216
transformer_matrices    : 25,165,824
scalars                 : 16
total                   : {total}
Estimated FLOPs per token: 2.500000e+08
Total number of training tokens: 440,401,920
Tokens / micro-batch: 524,288
Total batch size 524,288 => gradient accumulation steps: 1
"""
    body = "".join(
        f"Step {step:05d} | Validation bpb: {loss:.6f}\n"
        + (
            f"step {step:05d}/{last:05d} ({100 * step / last:.2f}%) | loss: {3 * loss:.6f} | "
            "lrm: 1.00 | dt: 90.12ms | tok/sec: 582,000 | bf16_mfu: 20.00 | "
            f"epoch: 1 pq: 0 rg: 0 | total time: {step / 600:.2f}m | eta: 0.1m\n"
            if step < last
            else ""
        )
        for step, loss in losses.items()
    )
    return head + body + f"Minimum validation bpb: {min(losses.values()):.6f}\n"


def trainer_state(losses: Curve, **changes: object) -> str:
    """trainer_state.json as Hugging Face's Trainer writes it after training."""
    history: list[dict[str, object]] = []
    for step, loss in losses.items():
        history += [
            {"epoch": step / 100, "grad_norm": 1.05, "learning_rate": 1e-3 / step,
             "loss": round(loss - 0.1, 4), "step": step},
            {"epoch": step / 100, "eval_loss": loss, "eval_runtime": 92.0,
             "eval_samples_per_second": 22.67, "eval_steps_per_second": 1.4, "step": step},
        ]  # fmt: skip
    last = max(losses, default=0)
    history.append(
        {"epoch": last / 100, "step": last, "total_flos": 6e12, "train_loss": 3.0,
         "train_runtime": 20.0, "train_samples_per_second": 4.0, "train_steps_per_second": 0.5}
    )  # fmt: skip
    state = {
        "best_global_step": None,
        "best_metric": None,
        "best_model_checkpoint": None,
        "epoch": last / 100,
        "eval_steps": 500,
        "global_step": last,
        "is_hyper_param_search": False,
        "is_local_process_zero": True,
        "is_world_process_zero": True,
        "log_history": history,
        "logging_steps": 1,
        "max_steps": last,
        "num_input_tokens_seen": 0,
        "num_train_epochs": 1,
        "save_steps": 10,
        "stateful_callbacks": {"TrainerControl": {"args": {"should_save": True}, "attributes": {}}},
        "total_flos": 6e12,
        "train_batch_size": 1,
        "trial_name": None,
        "trial_params": None,
    }
    return json.dumps(state | changes, indent=2, sort_keys=True) + "\n"


def chart(curves: Mapping[str, Curve], metric: str = "val/loss", axis: str = "Step") -> str:
    """The CSV that a chart of W&B exports, one column a run and two of its spread."""
    columns = [f'"{run} - {metric}{end}"' for run in curves for end in ("", "__MIN", "__MAX")]
    lines = [",".join([f'"{axis}"', *columns])]
    for step in sorted({step for curve in curves.values() for step in curve}):
        cells = ["" if step not in curve else repr(curve[step]) for curve in curves.values()]
        lines.append(",".join([f'"{step}"', *(f'"{cell}"' for cell in cells for _ in range(3))]))
    return "\n".join(lines) + "\n"


def mlruns(
    folder: Path, runs: Sequence[tuple[str, Curve]], *, status: int = 3, stage: str = "active"
) -> Path:
    """A folder mlruns as MLflow's file store writes it, one experiment."""
    for number, (name, losses) in enumerate(runs):
        run = folder / "413003551064641146" / f"{number:032x}"
        for part in ("metrics/val", "params", "tags"):
            (run / part).mkdir(parents=True)
        (run / "meta.yaml").write_text(
            f"artifact_uri: file:///x/{number}/artifacts\nend_time: 1795789331136\n"
            f"experiment_id: '413003551064641146'\nlifecycle_stage: {stage}\nrun_name: {name}\n"
            f"status: {status}\ntags: []\nuser_id: unknown\n"
        )
        lines = [f"{1795789331134 + s} {loss!r} {s}\n" for s, loss in losses.items()]
        (run / "metrics" / "val" / "loss").write_text("".join(lines))
        (run / "params" / "n_params").write_text("124000000")
        (run / "params" / "learning_rate").write_text("0.0006")
        (run / "tags" / "mlflow.runName").write_text(name)
    return folder
