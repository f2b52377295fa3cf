"""Which classes a run has, and where each photo's tags come from."""

from __future__ import annotations

from pseudomask import vocabulary
from pseudomask.data.collection import Collection, align_tags, report_labels
from pseudomask.data.labels.renaming import suggestions
from pseudomask.errors import UsageError
from pseudomask.networks.card import Card
from pseudomask.networks.network import CamNetwork
from pseudomask.quoting import count
from pseudomask.running.reporter import Reporter

_WELL_SEEN = 100  # photos of a class in training


def classes_of_tags(
    collection: Collection, network: CamNetwork, card: Card, reporter: Reporter
) -> tuple[CamNetwork, Card]:
    """The network and card whose classes are the tags; what each tag of a photo stands for is reported."""
    tags = collection.classes
    if collection.drop_unknown:
        tags = vocabulary.known(tags)
    elif collection.tags is not None and not collection.classes_given:  # a category that no photo has may be unknown
        kept = {*vocabulary.known(tags), *_used(collection)}
        tags = tuple(tag for tag in tags if tag in kept)
    if not tags:
        raise UsageError(
            f"these weights know {len(card.classes):,} classes and kinds of them; name those that the photos may show "
            "with --labels FILE or --class-file FILE"
        )
    shown = tags if collection.tags is None else set(_used(collection))
    for tag in tags:
        if tag in shown and (found := vocabulary.meaning(tag)) is not None:
            reporter.info(vocabulary.describe(tag, found, card.classes))
    return vocabulary.network_for(network, card, tags)


def align(collection: Collection, card: Card) -> Collection:
    """`align_tags`; an error about tags says what the ImageNet weights would do with them."""
    return align_tags(collection, card.classes, better="" if card.vocabulary else _with_imagenet(collection, card))


def _with_imagenet(collection: Collection, card: Card) -> str:
    """The flags to add for ImageNet's weights, if these know more of the photos' tags than the weights of `card`."""
    used = _used(collection)
    unknown = [tag for tag in used if tag not in card.classes]
    known = vocabulary.known(used)
    if len(known) <= len(used) - len(unknown) + len(suggestions(unknown, card.classes)):
        return ""
    people = [tag for tag in known if (one := vocabulary.meaning(tag)) is not None and one.kind == "person"]
    but = f" (but {people[0]} only badly)" if people else ""
    if len(known) == len(used):
        return f"add --weights imagenet, which knows all of these tags{but}"
    return f"add --weights imagenet --unknown-tags drop, which knows {len(known)} of {count(len(used), 'tag')}{but}"


def _used(collection: Collection) -> list[str]:
    """The classes that some photo shows, in their order."""
    used = {i for tags in (collection.tags or {}).values() for i in tags}
    return [collection.classes[i] for i in sorted(used)]


def report_tags(collection: Collection, card: Card, reporter: Reporter) -> str:
    """Warn of photos whose tags the classifier chooses; returns where the tags come from."""
    if collection.tags is None:
        reporter.warn(
            "no --labels; using the classifier's confident predictions as tags, of which many are wrong where photos "
            "differ from those of its training"
        )
        seen = card.training.get("photos_per_class")
        counts = seen if isinstance(seen, dict) else {}
        rare = [name for name, n in counts.items() if isinstance(n, int) and n < _WELL_SEEN]
        if 0 < len(rare) < len(counts):
            reporter.warn(
                f"these weights saw fewer than {_WELL_SEEN} photos of {', '.join(rare[:8])}"
                f"{f' and {len(rare) - 8} more' if len(rare) > 8 else ''}: their predicted tags are the least reliable"
            )
        return "the classifier"
    report_labels(collection, reporter, "the classifier's confident predictions are used as their tags")
    return collection.labels
