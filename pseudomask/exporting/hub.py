"""A folder to publish: masks, croissant.json, a Hugging Face dataset card and, for weights, a model card; no photos."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from pseudomask.config import ExportConfig
from pseudomask.exporting.hub_measures import Measures, read_measures
from pseudomask.exporting.source import Piece, Source
from pseudomask.exporting.writer import Writer, copy_mask, write_lines
from pseudomask.quoting import printable

_TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet", "format"),
    *("includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
UNKNOWN = "unknown"


class Hub(Writer):
    """masks/SPLIT/NAME.png, croissant.json, README.md; model/ with the weights and their card."""

    with_photos = False

    @classmethod
    def check(cls, config: ExportConfig) -> None:
        """Read what the cards quote. Raises `UsageError` or `WeightsError` for a file that is no report or weights."""
        read_measures(config.measured)
        if config.publish_weights is not None:
            from pseudomask.networks.checkpoint import read_card

            read_card(config.publish_weights)

    def photo(self, piece: Piece) -> None:
        return None

    def add(self, piece: Piece, mask: np.ndarray) -> None:
        self.present(mask)
        copy_mask(piece, mask, self.folder / "masks" / piece.split / f"{self.names[piece.key]}.png")

    def losses(self) -> list[str]:
        return ["photos are not included; masks have their names"]

    def paste(self, folder: str) -> str:
        return "\n".join(
            [
                "from pathlib import Path",
                "from PIL import Image",
                f"masks = sorted(Path({folder!r}, 'masks').rglob('*.png'))  # values are class indices",
                f"id2label = {dict(enumerate(self.all_classes))!r}  # {self.ignore} is ignore",
            ]
        )

    def publish(self, source: Source, config: ExportConfig) -> None:
        measures = read_measures(config.measured)
        name = config.out.resolve().name
        told = (self.folder / "README.md").read_text("utf-8", errors="surrogateescape")
        facts: dict[str, Any] = {"pretty_name": name, "license": (config.license or UNKNOWN).lower()}
        facts |= {"task_categories": ["image-segmentation"], "tags": ["pseudo-masks", "pseudomask", "croissant"]}
        lines = [*_front(facts), told, "## How it was made", "", *_origin(source, config), "", *measures.lines()]
        write_lines(self.folder / "README.md", lines)
        text = json.dumps(self._croissant(name, source, config), indent=1, ensure_ascii=False)
        write_lines(self.folder / "croissant.json", [text])
        if config.publish_weights is not None:
            _model(self.folder / "model", config.publish_weights, config, measures)

    def _croissant(self, name: str, source: Source, config: ExportConfig) -> dict[str, Any]:
        made = f"pseudomask {source.record.command}"
        names = [{"classes/index": i, "classes/name": one} for i, one in enumerate(self.all_classes)]
        digest = hashlib.sha256(json.dumps([self.names[piece.key] for piece in self.pieces]).encode()).hexdigest()
        masks = {"@id": "mask-files"}
        return {
            "@context": {
                "@language": "en",
                "@vocab": "https://schema.org/",
                "sc": "https://schema.org/",
                "cr": "http://mlcommons.org/croissant/",
                "rai": "http://mlcommons.org/croissant/RAI/",
                "dct": "http://purl.org/dc/terms/",
                "conformsTo": "dct:conformsTo",
                "data": {"@id": "cr:data", "@type": "@json"},
                "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
                "examples": {"@id": "cr:examples", "@type": "@json"},
                **{term: f"cr:{term}" for term in _TERMS},
            },
            "@type": "sc:Dataset",
            "name": name,
            "description": printable(
                f"Pseudo masks of {len(self.classes)} classes, made by {made}, not drawn by hand."
            ),
            "conformsTo": "http://mlcommons.org/croissant/1.1",
            "license": config.license or UNKNOWN,
            "version": "1.0.0",
            "identifier": f"sha256:{digest}",
            "distribution": [
                {"@type": "cr:FileSet", **masks, "name": "mask-files", "encodingFormat": "image/png"}
                | {"includes": "masks/**/*.png"}
            ],
            "recordSet": [
                {
                    "@type": "cr:RecordSet",
                    "@id": "classes",
                    "name": "classes",
                    "key": {"@id": "classes/index"},
                    "field": [_field("classes/index", "sc:Integer"), _field("classes/name", "sc:Text")],
                    "data": names,
                },
                {
                    "@type": "cr:RecordSet",
                    "@id": "masks",
                    "name": "masks",
                    "field": [
                        _field("masks/file", "sc:Text", {"fileSet": masks, "extract": {"fileProperty": "fullpath"}}),
                        _field(
                            "masks/mask", "sc:ImageObject", {"fileSet": masks, "extract": {"fileProperty": "content"}}
                        ),
                    ],
                },
            ],
        }


def _field(name: str, kind: str, source: dict[str, Any] | None = None) -> dict[str, Any]:
    field = {"@type": "cr:Field", "@id": name, "name": name.replace("/", "-"), "dataType": kind}
    return field | ({"source": source} if source else {})


def _front(facts: dict[str, Any]) -> list[str]:
    """YAML's front matter; JSON's values are YAML's."""
    return ["---", *(f"{key}: {json.dumps(value)}" for key, value in facts.items()), "---", ""]


def _origin(source: Source, config: ExportConfig) -> list[str]:
    """Licence, tags, command, threshold and who chose it."""
    record, made = source.record, source.made
    threshold = UNKNOWN
    if made.masks_threshold is not None:
        threshold = f"{made.masks_threshold:g}, {made.masks_chosen}"
    tags = record.protocol.get("tags") or ("given" if record.tagged else "predicted by the classifier")
    rows = {
        "licence of the masks": config.license or "unknown: none was given",
        "licence of the weights that made them": record.weights.get("licence", UNKNOWN),
        "tags": tags,
        "command": f"pseudomask {record.command} (settings in export.json)",
        "method": record.protocol.get("method", UNKNOWN),
        "refined by": made.refined_by or "nothing",
        "threshold": threshold,
        "photos": "not included",
    }
    return [printable(f"- {label}: {value}") for label, value in rows.items()]


def _model(folder: Path, weights: Path, config: ExportConfig, measures: Measures) -> None:
    """The weights, and their card with a model-index."""
    from pseudomask.networks.checkpoint import read_card

    card = read_card(weights)
    folder.mkdir()
    shutil.copyfile(weights, folder / weights.name)
    licence = config.license or card.license
    facts: dict[str, Any] = {"license": licence.lower() if " " not in licence else "other"}
    facts |= {"library_name": "pseudomask", "pipeline_tag": "image-segmentation", "tags": ["pseudo-masks"]}
    if measures.means:
        result = {
            "task": {"type": "image-segmentation"},
            "dataset": {"name": measures.on, "type": "custom"},
            "metrics": measures.metrics(),
        }
        facts["model-index"] = [{"name": weights.stem, "results": [result]}]
    lines = [*_front(facts), f"# {weights.stem}", ""]
    rows = {"classes": ", ".join(card.classes), "method": card.method, "backbone": card.backbone, "licence": licence}
    rows |= {f"threshold of {name}": f"{value:g}, from the weights' card" for name, value in card.thresholds.items()}
    rows |= {str(one.get("what")): f"{one.get('value')} ({one.get('protocol')})" for one in card.measured}
    lines += [printable(f"- {label}: {value}") for label, value in rows.items()]
    write_lines(folder / "README.md", [*lines, "", *measures.lines()])
