"""Hooks in one call of the model: they capture its attention and one block's output, and change nothing.

What other packs installed in the same positions is called as it is without the hooks.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor

from ...runs.comfy_versions import preferred_attention, stock_attention
from ...runs.keys import CAPTURES
from ...runs.options import append, inner, put
from .evaluation import guarded, open_captures
from .families import COUNTED, CROSS, REPLACED, Family
from .model_call import CALL, CapturedCall, call_of
from .stacks import AFTER, Block, cross_attention

TEXT_TOKENS = "diffusion_probe_text_tokens"
"""Key in ``transformer_options`` inside of one block: how many text tokens it gets before those of the image."""


def captured_call(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
    """Capture a model call: an APPLY_MODEL wrapper that installs the hooks in the options of this call, if needed.

    ComfyUI makes these options anew for each call, so options that other packs keep are never changed.
    """
    with ExitStack() as stack:
        if (transformer_options or {}).get(CAPTURES):
            _install(stack, executor.class_obj.diffusion_model, x, transformer_options)
        return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)


def _install(stack: ExitStack, diffusion_model: Any, x: Tensor, options: dict[str, Any]) -> None:
    captures = open_captures(options)
    with guarded(*captures):
        call = CapturedCall(tuple(x.shape), options)
        put(stack, options, CALL, call)
        stack.callback(_end, call)
        maps = next((capture.maps for capture in captures if capture.maps is not None), None)
        if maps is not None:
            call.order = tuple(maps.family.stack(diffusion_model)) if maps.family.identified == COUNTED else ()
            _hook_attention(stack, maps.family, diffusion_model, maps.token_sides, options)
        activation = next((each.activation for each in captures if each.activation is not None), None)
        if activation is not None:
            _hook_activation(stack, activation.block, options)


def _end(call: CapturedCall) -> None:
    with call.guarded():
        call.end()


def _hook_attention(
    stack: ExitStack, family: Family, diffusion_model: Any, blocks: Iterable[Block], options: dict[str, Any]
) -> None:
    if family.identified == CROSS:
        attn2 = inner(stack, options, "patches_replace", "attn2")
        for block in blocks:
            kernel = preferred_attention(cross_attention(diffusion_model, block))
            hook = CrossAttentionHook(block, attn2.get(block, attn2.get(block[:2])), kernel)
            put(stack, attn2, block, hook)
        return
    if family.identified == REPLACED:
        dit = inner(stack, options, "patches_replace", "dit")
        for kind, index in blocks:
            key = (f"{kind}_block", index)
            put(stack, dit, key, NamedBlock((kind, index), dit.get(key)))
    name = "optimized_attention_override"
    put(stack, options, name, AttentionHook(options.get(name), family.identified == COUNTED))


def _hook_activation(stack: ExitStack, block: Block, options: dict[str, Any]) -> None:
    kind, index = str(block[0]), int(block[1])
    if kind == "output":
        append(stack, inner(stack, options, "patches"), "output_block_patch", DecoderHook(block))
    elif kind.startswith(AFTER):
        append(stack, inner(stack, options, "patches"), kind.removeprefix(AFTER).strip(), AfterBlockHook(index))
    else:
        dit = inner(stack, options, "patches_replace", "dit")
        put(stack, dit, block, BlockHook(dit.get(block)))


@dataclass(frozen=True)
class AttentionHook:
    """Hook of every attention call: an ``optimized_attention_override`` around the ``previous`` one.

    Attributes:
        counted: whether blocks are distinguished by the order of their attention calls alone.
    """

    previous: Callable | None
    counted: bool = False

    def __call__(self, func, q, k, v, *args, **kwargs):
        call = call_of(kwargs.get("transformer_options"))
        if call is not None:
            with call.guarded():
                self._capture(call, q, k, args, kwargs)
        if self.previous is not None:
            return self.previous(func, q, k, v, *args, **kwargs)
        return stock_attention(func)(q, k, v, *args, **kwargs)

    def _capture(self, call: CapturedCall, q: Tensor, k: Tensor, args: tuple, kwargs: dict[str, Any]) -> None:
        options = kwargs["transformer_options"]
        named = {**dict(zip(("heads", "mask"), args)), **kwargs}
        heads, mask = named["heads"], named.get("mask")
        scaling = {name: kwargs[name] for name in ("scale", "enable_gqa") if name in kwargs}
        block = call.next_block() if self.counted else (options.get("block_type"), options.get("block_index"))
        by_head = (q, k) if kwargs.get("skip_reshape") else (_by_head(q, heads), _by_head(k, heads))
        call.capture_attention(block, *by_head, mask, options, scaling=scaling, text=options.get(TEXT_TOKENS))


@dataclass(frozen=True)
class NamedBlock:
    """Replacement of a whole block, around the ``installed`` one, that names the block and the length of its text to
    the hook of its attention."""

    block: Block
    installed: Callable | None

    def __call__(self, args, extra):
        call = call_of(args.get("transformer_options"))
        with ExitStack() as stack:
            if call is not None:
                with call.guarded():
                    self._name(stack, call, args)
            return self.installed(args, extra) if self.installed is not None else extra["original_block"](args)

    def _name(self, stack: ExitStack, call: CapturedCall, args: dict[str, Any]) -> None:
        options, (kind, index) = args["transformer_options"], self.block
        call.enter(self.block)
        put(stack, options, "block_type", kind)
        put(stack, options, "block_index", index)
        text = args["txt"].shape[1] if "txt" in args else options.get("img_slice", (None,))[0]
        put(stack, options, TEXT_TOKENS, text)


@dataclass(frozen=True)
class CrossAttentionHook:
    """Hook of one cross-attention of a UNet: an ``attn2`` replacement around the ``installed`` one.

    Attributes:
        kernel: further arguments of the block's own attention call.
    """

    block: Block
    installed: Callable | None
    kernel: dict[str, Any] = field(default_factory=dict)

    def __call__(self, q, k, v, options):
        heads, call = options["n_heads"], call_of(options)
        if call is not None:
            with call.guarded():
                call.enter(self.block)
                call.capture_attention(self.block, _by_head(q, heads), _by_head(k, heads), None, options, scaling={})
        if self.installed is not None:
            return self.installed(q, k, v, options)
        precision = options["attn_precision"]
        return optimized_attention(q, k, v, heads, attn_precision=precision, transformer_options=options, **self.kernel)


@dataclass(frozen=True)
class BlockHook:
    """Hook of the output of a DiT's block: a replacement that runs the ``installed`` one, or else the block.

    Image tokens come before those of reference images, and behind those of text where they are one stream.
    """

    installed: Callable | None

    def __call__(self, args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        output = extra["original_block"](args) if self.installed is None else self.installed(args, extra)
        options = args.get("transformer_options")
        call = call_of(options)
        if call is not None:
            with call.guarded():
                text = 0 if "txt" in args else options.get("img_slice", (0,))[0]
                references = sum(options.get("reference_image_num_tokens", ()))
                call.capture_activation(output["img"][:, text:], options, references)
        return output


@dataclass(frozen=True)
class AfterBlockHook:
    """Hook of the output of a DiT's block, at the image alone: a patch that follows each block."""

    index: int

    def __call__(self, args: dict[str, Any]) -> dict[str, Any]:
        call = call_of(args.get("transformer_options"))
        if call is not None and args["block_index"] == self.index:
            with call.guarded():
                call.capture_activation(args["img"], args["transformer_options"], 0)
        return {}


@dataclass(frozen=True)
class DecoderHook:
    """Hook of the input of one block of a UNet's decoder: an ``output_block_patch``."""

    block: Block

    def __call__(self, h: Tensor, skip: Tensor, options: dict[str, Any]) -> tuple[Tensor, Tensor]:
        call = call_of(options)
        if call is not None and tuple(options["block"]) == self.block:
            with call.guarded():
                call.capture_activation(h, options)
        return h, skip


def _by_head(tokens: Tensor, heads: int) -> Tensor:
    """Split ``[batch, tokens, heads * head_dim]`` by head, to ``[batch, heads, tokens, head_dim]``."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)
