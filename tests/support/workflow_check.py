"""Whether a workflow fits the nodes that a server has: inputs, widget values and links."""

from comfy_execution.validation import validate_node_input

LOADS_A_FILE = {"DiffusionProbeLoadProbe", "DiffusionProbeLoadRewardModel"}
FILES = {"unet_name", "ckpt_name", "vae_name", "clip_name", "clip_name1", "clip_name2"}
"""Options of these are what lies on the disk, as are those of ``LOADS_A_FILE``."""
VALUES = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool, "COMBO": str, "COMFY_DYNAMICCOMBO_V3": str}
MATCH = "COMFY_MATCHTYPE_V3"


def specifications(node, info):
    """Name, specification and "must be there" of every input, those of the chosen options too."""
    pending = [("", info[node["class_type"]]["input"])]
    while pending:
        prefix, groups = pending.pop()
        for group in ("required", "optional"):
            for name, spec in groups.get(group, {}).items():
                yield prefix + name, spec, group == "required"
                if spec[0] == "COMFY_DYNAMICCOMBO_V3":
                    chosen = node["inputs"].get(prefix + name)
                    pending += [(f"{prefix}{name}.", o["inputs"]) for o in spec[1]["options"] if o["key"] == chosen]


def output_type(prompt, info, link):
    """What a link carries; an output that matches inputs carries what these get."""
    node = prompt[link[0]]
    outputs = info[node["class_type"]]["output"]
    if link[1] >= len(outputs) or outputs[link[1]] != MATCH:
        return outputs[link[1]] if link[1] < len(outputs) else None
    matched = [name for name, spec, _ in specifications(node, info) if spec[0] == MATCH and name in node["inputs"]]
    types = {output_type(prompt, info, node["inputs"][name]) for name in matched}
    return types.pop() if len(types) == 1 else None


def wrong_inputs(prompt, info):
    """What does not fit, a line for each input of each node."""
    for number, node in prompt.items():
        known = set()
        for name, spec, required in specifications(node, info):
            where = f"{node['class_type']} (node {number}) {name}"
            known.add(name)
            value = node["inputs"].get(name)
            if value is None:
                if required:
                    yield f"{where}: missing"
            elif isinstance(value, list):
                given = output_type(prompt, info, value)
                if given is None or (spec[0] != MATCH and not validate_node_input(given, str(spec[0]))):
                    yield f"{where}: takes {spec[0]}, gets {given}"
            else:
                options = spec[0] if isinstance(spec[0], list) else spec[1].get("options")
                kind = "COMBO" if isinstance(spec[0], list) else spec[0]
                if kind not in VALUES or not isinstance(value, VALUES[kind]):
                    yield f"{where}: takes {kind}, has {value!r}"
                elif options and name not in FILES and node["class_type"] not in LOADS_A_FILE:
                    if value not in [option["key"] if isinstance(option, dict) else option for option in options]:
                        yield f"{where}: {value!r} is none of {options}"
        for name in node["inputs"].keys() - known:
            yield f"{node['class_type']} (node {number}) {name}: unknown"


def wrong_links(workflow):
    """Links of the saved file whose ends do not agree."""
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for link, source, output, target, place, kind in workflow["links"]:
        outputs, inputs = nodes[source].get("outputs", []), nodes[target].get("inputs", [])
        if output >= len(outputs) or link not in (outputs[output]["links"] or []):
            yield f"link {link} does not leave node {source}"
        elif place >= len(inputs) or inputs[place]["link"] != link:
            yield f"link {link} does not reach node {target}"
        elif kind not in (outputs[output]["type"], "*"):
            yield f"link {link} carries {kind}, not {outputs[output]['type']}"
