"""Prints the tables of frameworks in docs/ml-engineer.md, from the table in training/config/frameworks.py.

python -m training.config.frameworks_table
"""

from training.config.frameworks import SHARED, SPECIFIC


def shared_table() -> str:
    """Returns the frameworks for theta^S as Markdown."""
    rows = ["| `framework.shared` | how θˢ is learned | default rates | paper |", "|---|---|---|---|"]
    for name, framework in SHARED.items():
        rates = "" if name == "none" else f"`inner_lr={framework.inner_lr:g}`"
        rates += f", `outer_lr={framework.outer_lr:g}`" if "outer_lr" in framework.keys else ""
        rows.append(f"| `{name}` | {framework.title} | {rates} | {framework.paper} |")
    return "\n".join(rows)


def specific_table() -> str:
    """Returns the frameworks for theta^i as Markdown."""
    rows = ["| `framework.specific` | how θⁱ is learned | keys | paper |", "|---|---|---|---|"]
    for name, framework in SPECIFIC.items():
        keys = dict.fromkeys((*(key for _, key in framework.rounds), *framework.keys))
        rows.append(f"| `{name}` | {framework.title} | {', '.join(f'`{key}`' for key in keys)} | {framework.paper} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(f"{shared_table()}\n\n{specific_table()}")
