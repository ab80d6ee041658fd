"""HTML pages that need nothing but themselves: no network, no other file."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent


def render(template: Path, **values: object) -> str:
    """The page that `template` makes of `values`, which are escaped; it extends training/report/page.html."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, HERE]), undefined=StrictUndefined, autoescape=True, trim_blocks=True
    )
    return environment.get_template(template.name).render(**values)
