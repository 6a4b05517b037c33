"""The bar of a training: where it begins, and what it shows of the logs."""

from __future__ import annotations

from transformers import TrainerControl, TrainerState

from persona_bench.train.progress import Progress, in_words

LOGS = {"loss": 0.0, "reward": 0.4213, "kl": 0.01, "completions/mean_length": 11.625, "epoch": 0.1}


def test_a_resumed_training_goes_on_at_its_step(capsys) -> None:
    state, control = TrainerState(max_steps=40, global_step=16), TrainerControl()
    bar = Progress()
    bar.on_train_begin(None, state, control)
    bar.on_log(None, state, control, logs=LOGS)
    state.global_step = 17
    bar.on_step_end(None, state, control)
    bar.on_log(None, state, control, logs={"eval_accuracy": 0.5, "eval_runtime": 3.0})
    bar.on_train_end(None, state, control)
    shown = capsys.readouterr()
    assert "Step 17, held out: accuracy 0.5" in shown.out + shown.err
    last = shown.err.replace("\r", "\n").splitlines()[-1]
    assert "17/40" in last
    assert "reward 0.421, length 11.6, kl 0.01" in last
    assert "{" not in shown.out + shown.err  # none of the dictionaries


def test_the_loss_is_shown_where_nothing_is_rewarded() -> None:
    assert in_words({"loss": 1.23456, "epoch": 1.0}) == "loss 1.23"
    assert "loss" not in in_words(LOGS)
