"""Learning rates over steps, and the optimizers that take them."""

import keras

from unet.settings import OptimizerSettings, ScheduleSettings


def build_schedule(
    settings: ScheduleSettings, lr: float, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate of each step: up to `lr` in the warm-up, then held or sunk along half a cosine."""
    warmup = settings.warmup_steps
    return keras.optimizers.schedules.CosineDecay(
        # The first of the warm-up steps has lr / warmup: with a rate of 0 it would be taken for nothing.
        initial_learning_rate=lr / warmup if warmup else lr,
        decay_steps=steps - warmup,
        alpha=1.0 if settings.name == "constant" else settings.final_fraction,
        warmup_target=lr if warmup else None,
        warmup_steps=warmup,
    )


def build_optimizer(
    settings: OptimizerSettings, schedule: keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    """The optimizer that `settings` names, with `schedule` as its learning rate."""
    clip = settings.clip_norm
    if settings.name == "sgd":
        return keras.optimizers.SGD(schedule, momentum=settings.momentum, global_clipnorm=clip)
    if settings.name == "adamw":
        return keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay, global_clipnorm=clip)
    return keras.optimizers.Adam(schedule, global_clipnorm=clip)
