"""What a network is made of, as plain text."""

import keras


def summary_text(model: keras.Model) -> str:
    """A line for each layer (its name, what it is, the shape that it gives, its number of weights), and the totals.

    Keras's own `summary` cuts its table off at the width of a terminal that is not there.
    """
    rows = [("layer", "kind", "gives", "weights")]
    for layer in model.layers:
        shape = ", ".join("any" if size is None else str(size) for size in layer.output.shape)
        rows.append((layer.name, type(layer).__name__, f"[{shape}]", f"{layer.count_params():,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {shape:<{widths[2]}}  {weights:>{widths[3]}}"
        for name, kind, shape, weights in rows
    ]
    trained = sum(weight.value.shape.num_elements() for weight in model.trainable_weights)
    total = model.count_params()
    return "\n".join([model.name, "", *lines, "", f"{total:,} weights, {trained:,} of them trained"]) + "\n"
