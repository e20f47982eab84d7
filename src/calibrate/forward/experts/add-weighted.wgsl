// Adds an expert's output to the hidden states, each row with its token's weight. A token comes once, so that no two
// invocations meet.
override WORKGROUP: u32 = 64;
override WEIGHTS: u32 = 0;

// Rows are the expert's tokens, by `order`.
const ROUTED: u32 = 0u;
// Rows are all tokens; those that are routed elsewhere add nothing.
const SEARCHED: u32 = 1u;
// Rows are all tokens; `weights` holds logits of a gate, `top_k` elements apart.
const GATED: u32 = 2u;
// As ROUTED, with weights of one.
const UNWEIGHED: u32 = 3u;

struct Params {
  // In vec4.
  columns: u32,
  y_offset: u32,
  expert: u32,
  top_k: u32,
  first_entry: u32,
  first: u32,
  end: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> order: array<u32>;
// Pairs of expert and weight (ROUTED, SEARCHED), or logits (GATED).
@group(0) @binding(2) var<storage, read> weights: array<u32>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (item >= params.end) { return; }
  let row = item / params.columns;
  var token = row;
  var weight = 0.0;
  switch WEIGHTS {
    case ROUTED: {
      let entry = order[params.first_entry + row];
      token = entry / params.top_k;
      weight = bitcast<f32>(weights[2u * entry + 1u]);
    }
    case UNWEIGHED: {
      token = order[params.first_entry + row] / params.top_k;
      weight = 1.0;
    }
    case SEARCHED: {
      for (var choice = 0u; choice < params.top_k; choice++) {
        let at = 2u * (row * params.top_k + choice);
        if (weights[at] == params.expert) { weight = bitcast<f32>(weights[at + 1u]); }
      }
      if (weight == 0.0) { return; }
    }
    default: {
      weight = 1.0 / (1.0 + exp(min(-bitcast<f32>(weights[row * params.top_k]), 80.0)));
    }
  }
  y[params.y_offset + token * params.columns + item % params.columns] += params.scale * weight * x[item];
}
