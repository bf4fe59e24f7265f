"""How much of a training is done, for models that learn otherwise at its start or end."""

from mmengine.logging import MessageHub


def training_progress() -> float:
    """Returns the share of the training's steps that lie behind the present one: 0 at the first step, below 1.

    MMEngine's runner tells it to its message hub before each step, also after a training was resumed.

    Raises:
        ValueError: If no training runs.
    """
    hub = MessageHub.get_current_instance()
    step, steps = hub.get_info('iter'), hub.get_info('max_iters')
    if step is None or not steps:
        raise ValueError("no training runs: MMEngine's message hub has neither iter nor max_iters.")
    return step / steps
