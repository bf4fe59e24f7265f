"""Compiles the Triton kernels, without a GPU, and prints their registers, spills, shared memory and compile time.

Run as ``python -m benchmarks.kernel_resources``. The first use of a kernel on a GPU costs its compile time; Triton then
keeps it in its cache.
"""

import argparse
import json
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from mmconvnext.kernels.triton import depthwise, norm_mlp, tiles

CUOBJDUMP = Path(triton.__file__).parent / 'backends/nvidia/bin/cuobjdump'
KERNELS = ('convolve', 'input_gradient', 'weight_gradient', 'norm_mlp', 'norm_mlp_backward', 'column_sums')
# Arguments that are float32 under autocast with bfloat16, besides those of the residual stream
FLOAT32 = ('bias', 'b1', 'b2', 'weight', 'layer_scale', 'sample_scales', 'factor', 'through_gx', 'parts')


def main() -> None:
    """Prints one line for each kernel, width and compute capability."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--widths', type=int, nargs='+', default=[96, 192, 384, 768])
    parser.add_argument('--capabilities', type=int, nargs='+', default=[80, 90])
    parser.add_argument('--kernels', nargs='+', default=KERNELS, choices=KERNELS)
    parser.add_argument('--json', action='store_true')
    args = parser.parse_args()
    for capability in args.capabilities:
        for width in args.widths:
            for kernel in args.kernels:
                if kernel in KERNELS[:3] or tiles.has_norm_mlp(width):
                    row = resources(kernel, width, capability)
                    print(json.dumps(row) if args.json else '  '.join(f'{k} {v}' for k, v in row.items()), flush=True)


def resources(kernel: str, width: int, capability: int) -> dict[str, Any]:
    """Compiles one kernel and reads its resources from the binary."""
    function, stream, constants, warps, stages = variant(kernel, width)
    signature = {}
    for name in function.arg_names:
        if name.endswith('_ptr'):
            name_of = name.removesuffix('_ptr')
            signature[name] = '*fp32' if name_of in (*FLOAT32, *stream) else '*bf16'
        else:
            signature[name] = 'constexpr' if name in constants else 'i32'
    aligned = {(i,): [['tt.divisibility', 16]] for i, kind in enumerate(signature.values()) if kind.startswith('*')}
    source = ASTSource(fn=function, signature=signature, constexprs=constants, attrs=aligned)
    start = time.perf_counter()
    compiled = triton.compile(
        source, target=GPUTarget('cuda', capability, 32), options=dict(num_warps=warps, num_stages=stages)
    )
    seconds = time.perf_counter() - start
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(compiled.asm['cubin'])
        file.flush()
        usage = subprocess.run([CUOBJDUMP, '-res-usage', file.name], capture_output=True, text=True, check=True).stdout
    return {
        'kernel': kernel,
        'width': width,
        'capability': capability,
        'registers': int(re.findall(r'REG:(\d+)', usage)[0]),
        'stack_bytes': int(re.findall(r'STACK:(\d+)', usage)[0]),
        'shared_bytes': compiled.metadata.shared,
        'threads': 32 * warps,
        'seconds': round(seconds, 1),
    }


def variant(kernel: str, width: int) -> tuple[Any, tuple[str, ...], dict[str, Any], int, int]:
    """Returns a kernel, its pointers into the residual stream, constants, warps and stages, as training launches it."""
    if kernel in KERNELS[:3]:
        tile = tiles.depthwise(width)
        constants: dict[str, Any] = dict(
            channels=width, block=tile.channels, lanes=tile.lanes, rows=tile.rows, columns=tile.columns
        )
        if kernel == 'weight_gradient':
            return depthwise._depthwise_weight_gradient, ('x',), constants, tile.warps, 3
        back = kernel == 'input_gradient'
        constants.update(flip=back, has_bias=not back, has_residual=back)
        return depthwise._depthwise, ('residual', 'out') if back else ('x',), constants, tile.warps, 3
    mlp = tiles.norm_mlp(width)
    constants = dict(channels=width, chunks=tiles.powers_of_two(width), block=mlp.pixels, step=mlp.hidden)
    constants.update(has_layer_scale=kernel != 'column_sums', has_sample_scales=True)
    if kernel == 'norm_mlp':
        constants.update(w2_of_sample=False, keep_hidden=False)
        return norm_mlp._norm_mlp, ('x', 'out'), constants, mlp.warps, mlp.stages
    constants.update(has_hidden=False)
    if kernel == 'norm_mlp_backward':
        constants.update(has_grn=False)
        return norm_mlp._norm_mlp_backward, ('grad',), constants, mlp.warps, mlp.stages
    constants.update(has_grad=True)
    return norm_mlp._norm_mlp_sums, ('grad',), constants, mlp.warps, mlp.stages


if __name__ == '__main__':
    main()
