"""The taps in one call of the model: they show its attention and one block's output, and change nothing.

What other packs installed in the same places is called as if the taps weren't there.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor

from ...runs.comfy_versions import preferred_attention, stock_attention
from ...runs.keys import TAPS
from ...runs.options import append, inner, put
from .families import COUNTED, CROSS, REPLACED, Family
from .look import guarded, open_looks
from .model_call import CALL, LookedAtCall, call_of
from .stacks import AFTER, Block, cross_attention

TEXT_TOKENS = "diffusion_probe_text_tokens"
"""In ``transformer_options`` inside of one block: how many tokens of text it was given before those of the image."""


def tapped_call(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
    """Wrap APPLY_MODEL: put the taps into the options of this call, if it is captured, and take them out again.

    ComfyUI makes these options for each call anew, so what other packs keep in theirs is never touched.
    """
    with ExitStack() as stack:
        if (transformer_options or {}).get(TAPS):
            _install(stack, executor.class_obj.diffusion_model, x, transformer_options)
        return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)


def _install(stack: ExitStack, diffusion_model: Any, x: Tensor, options: dict[str, Any]) -> None:
    looks = open_looks(options)
    with guarded(*looks):
        call = LookedAtCall(tuple(x.shape), options)
        put(stack, options, CALL, call)
        stack.callback(_end, call)
        maps = next((look.maps for look in looks if look.maps is not None), None)
        if maps is not None:
            call.order = tuple(maps.family.stack(diffusion_model)) if maps.family.seen == COUNTED else ()
            _tap_attention(stack, maps.family, diffusion_model, maps.token_sides, options)
        activation = next((look.activation for look in looks if look.activation is not None), None)
        if activation is not None:
            _tap_activation(stack, activation.block, options)


def _end(call: LookedAtCall) -> None:
    with call.guarded():
        call.end()


def _tap_attention(
    stack: ExitStack, family: Family, diffusion_model: Any, blocks: Iterable[Block], options: dict[str, Any]
) -> None:
    if family.seen == CROSS:
        attn2 = inner(stack, options, "patches_replace", "attn2")
        for block in blocks:
            kernel = preferred_attention(cross_attention(diffusion_model, block))
            tapped = TappedCrossAttention(block, attn2.get(block, attn2.get(block[:2])), kernel)
            put(stack, attn2, block, tapped)
        return
    if family.seen == REPLACED:
        dit = inner(stack, options, "patches_replace", "dit")
        for kind, index in blocks:
            place = (f"{kind}_block", index)
            put(stack, dit, place, NamedBlock((kind, index), dit.get(place)))
    name = "optimized_attention_override"
    put(stack, options, name, TappedAttention(options.get(name), family.seen == COUNTED))


def _tap_activation(stack: ExitStack, block: Block, options: dict[str, Any]) -> None:
    kind, index = block
    if kind == "output":
        append(stack, inner(stack, options, "patches"), "output_block_patch", TappedEntry(block))
    elif str(kind).startswith(AFTER):
        append(stack, inner(stack, options, "patches"), str(kind).removeprefix(AFTER).strip(), TappedPatch(int(index)))
    else:
        dit = inner(stack, options, "patches_replace", "dit")
        put(stack, dit, block, TappedBlock(dit.get(block)))


@dataclass(frozen=True)
class TappedAttention:
    """An ``optimized_attention_override`` that shows q and k, and then calls ``previous``.

    Attributes:
        counted: whether the blocks can be told apart by the order of their attention calls alone.
    """

    previous: Callable | None
    counted: bool = False

    def __call__(self, func, q, k, v, *args, **kwargs):
        call = call_of(kwargs.get("transformer_options"))
        if call is not None:
            with call.guarded():
                self._show(call, q, k, args, kwargs)
        if self.previous is not None:
            return self.previous(func, q, k, v, *args, **kwargs)
        return stock_attention(func)(q, k, v, *args, **kwargs)

    def _show(self, call: LookedAtCall, q: Tensor, k: Tensor, args: tuple, kwargs: dict[str, Any]) -> None:
        options = kwargs["transformer_options"]
        given = {**dict(zip(("heads", "mask"), args)), **kwargs}
        heads, mask = given["heads"], given.get("mask")
        scaling = {name: kwargs[name] for name in ("scale", "enable_gqa") if name in kwargs}
        block = call.next_block() if self.counted else (options.get("block_type"), options.get("block_index"))
        by_head = (q, k) if kwargs.get("skip_reshape") else (_by_head(q, heads), _by_head(k, heads))
        call.show_attention(block, *by_head, mask, options, scaling=scaling, text=options.get(TEXT_TOKENS))


@dataclass(frozen=True)
class NamedBlock:
    """A replacement of a whole block that tells its attention which ``block`` it is and how long its text is, around
    what was ``installed``."""

    block: Block
    installed: Callable | None

    def __call__(self, args, extra):
        call = call_of(args.get("transformer_options"))
        with ExitStack() as stack:
            if call is not None:
                with call.guarded():
                    self._name(stack, call, args)
            return self.installed(args, extra) if self.installed is not None else extra["original_block"](args)

    def _name(self, stack: ExitStack, call: LookedAtCall, args: dict[str, Any]) -> None:
        options, (kind, index) = args["transformer_options"], self.block
        call.enter(self.block)
        put(stack, options, "block_type", kind)
        put(stack, options, "block_index", index)
        text = args["txt"].shape[1] if "txt" in args else options.get("img_slice", (None,))[0]
        put(stack, options, TEXT_TOKENS, text)


@dataclass(frozen=True)
class TappedCrossAttention:
    """An ``attn2`` replacement that shows q and k, and then calls what was ``installed``.

    Attributes:
        kernel: what the block's own attention call names besides.
    """

    block: Block
    installed: Callable | None
    kernel: dict[str, Any] = field(default_factory=dict)

    def __call__(self, q, k, v, options):
        heads, call = options["n_heads"], call_of(options)
        if call is not None:
            with call.guarded():
                call.enter(self.block)
                call.show_attention(self.block, _by_head(q, heads), _by_head(k, heads), None, options, scaling={})
        if self.installed is not None:
            return self.installed(q, k, v, options)
        precision = options["attn_precision"]
        return optimized_attention(q, k, v, heads, attn_precision=precision, transformer_options=options, **self.kernel)


@dataclass(frozen=True)
class TappedBlock:
    """A replacement of a DiT's block that runs what was ``installed``, or else the block, and shows what it gives.

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
                call.show_activation(output["img"][:, text:], options, references)
        return output


@dataclass(frozen=True)
class TappedPatch:
    """A patch that follows each block of a DiT, and shows what one of them gives: the image alone."""

    index: int

    def __call__(self, args: dict[str, Any]) -> dict[str, Any]:
        call = call_of(args.get("transformer_options"))
        if call is not None and args["block_index"] == self.index:
            with call.guarded():
                call.show_activation(args["img"], args["transformer_options"], 0)
        return {}


@dataclass(frozen=True)
class TappedEntry:
    """An ``output_block_patch`` that shows what enters one block of a UNet's decoder."""

    block: Block

    def __call__(self, h: Tensor, skip: Tensor, options: dict[str, Any]) -> tuple[Tensor, Tensor]:
        call = call_of(options)
        if call is not None and tuple(options["block"]) == self.block:
            with call.guarded():
                call.show_activation(h, options)
        return h, skip


def _by_head(tokens: Tensor, heads: int) -> Tensor:
    """Split ``[batch, tokens, heads * head_dim]`` to ``[batch, heads, tokens, head_dim]``."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)
