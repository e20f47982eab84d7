// Which experts each token goes to: softmax of the router's logits, then the largest of them, and of equal ones the
// first. One invocation a token.
override WORKGROUP: u32 = 64;
// Divides the chosen probabilities by their sum.
override NORMALIZED: bool = false;

struct Params {
  experts: u32,
  stride: u32,
  top_k: u32,
  first: u32,
  end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
// Expert, and the bits of its weight, for each token and choice.
@group(0) @binding(2) var<storage, read_write> routes: array<vec2<u32>>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let token = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (token >= params.end) { return; }
  let base = token * params.stride;
  var largest = logits[base];
  for (var i = 1u; i < params.experts; i++) { largest = max(largest, logits[base + i]); }
  var sum = 0.0;
  for (var i = 0u; i < params.experts; i++) { sum += exp(logits[base + i] - largest); }

  // Each choice is the best of those that rank after the one before: no list of what is taken.
  var before = largest;
  var before_at = 0u;
  var chosen_sum = 0.0;
  for (var choice = 0u; choice < params.top_k; choice++) {
    var best_at = params.experts;
    for (var i = 0u; i < params.experts; i++) {
      let value = logits[base + i];
      let ranks_after = choice == 0u || value < before || (value == before && i > before_at);
      if (ranks_after && (best_at == params.experts || value > logits[base + best_at])) { best_at = i; }
    }
    // Only NaN leaves none: the first expert then, so that indices stay within bounds.
    best_at = select(best_at, 0u, best_at == params.experts);
    before = logits[base + best_at];
    before_at = best_at;
    let probability = exp(before - largest) / sum;
    chosen_sum += probability;
    routes[token * params.top_k + choice] = vec2(best_at, bitcast<u32>(probability));
  }
  if (!NORMALIZED) { return; }
  for (var choice = 0u; choice < params.top_k; choice++) {
    let at = token * params.top_k + choice;
    routes[at].y = bitcast<u32>(bitcast<f32>(routes[at].y) / chosen_sum);
  }
}
