// A frame's bytes as numbers and arrays: the layout is that of frames.py.

export function shapeOf(config) {
  const widths = [config.features.length, ...config.layers, 1];
  const layers = widths.slice(1).map((units, i) => ({ sources: widths[i], units }));
  let at = 0;
  for (const layer of layers) {
    layer.weight = at;
    layer.bias = at + layer.sources * layer.units;
    at = layer.bias + layer.units;
  }
  return { layers, parameters: at, hidden: config.layers.reduce((a, b) => a + b, 0) };
}

export function readFrame(buffer, shape, welcome) {
  const { small, numbers } = welcome, { parameters, hidden } = shape;
  let at = 0;
  const next = (Kind, count) => {
    const part = new Kind(buffer, at, count);
    at += part.byteLength;
    return part;
  };
  const values = next(Float64Array, numbers.length);
  const told = Object.fromEntries(numbers.map((name, i) => [name, values[i]]));
  return {
    ...told,
    parameters: next(Float32Array, parameters),
    gradients: next(Float32Array, parameters),
    dead: next(Uint8Array, hidden),
    units: Array.from({ length: hidden }, () => next(Int8Array, small * small)),
    output: next(Int8Array, small * small),
    main: next(Int8Array, told.side ** 2),
  };
}

export const generationOf = (buffer) => new Float64Array(buffer, 0, 1)[0];
