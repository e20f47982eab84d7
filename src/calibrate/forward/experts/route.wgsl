// Which experts each token goes to: scores of the router's logits, then the best of them, and of equal ones the first. One
// invocation a token.
override WORKGROUP: u32 = 64;
override SCORING: u32 = 0;
// Adds a value of each expert to its score for the choice, not for its weight.
override CORRECTED: bool = false;
// Experts come in groups; a group counts as much as its best score, or as the sum of its best two.
override GROUPED: bool = false;
override BEST_TWO: bool = false;
// Divides the chosen scores by their sum.
override NORMALIZED: bool = false;
// Multiplies each weight by a factor of its expert.
override SCALED: bool = false;

const SOFTMAX: u32 = 0u;
const SIGMOID: u32 = 1u;
// SparseMixer (arXiv 2409.12136): each choice has a softmax of its own, over the logits that come close to it.
const NEVER = -1e30;

struct Params {
  experts: u32,
  stride: u32,
  top_k: u32,
  groups: u32,
  kept_groups: u32,
  first: u32,
  end: u32,
  scale: f32,
  jitter: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> correction: array<f32>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
// Expert, and the bits of its weight, for each token and choice.
@group(0) @binding(4) var<storage, read_write> routes: array<vec2<u32>>;

fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp(min(-x, 80.0))); }

// What experts are chosen by. Without a correction the order of the logits is that of their scores.
fn choice_score(base: u32, expert: u32, largest: f32, sum: f32) -> f32 {
  let logit = logits[base + expert];
  if (!CORRECTED) { return select(logit, sigmoid(logit), SCORING == SIGMOID); }
  let score = select(exp(logit - largest) / sum, sigmoid(logit), SCORING == SIGMOID);
  return score + correction[expert];
}

// The groups whose experts may be chosen, a bit each.
fn kept_groups(base: u32, largest: f32, sum: f32) -> u32 {
  let size = params.experts / params.groups;
  var worth = array<f32, 32>();
  for (var g = 0u; g < params.groups; g++) {
    var best = NEVER;
    var second = NEVER;
    for (var i = g * size; i < (g + 1u) * size; i++) {
      let score = choice_score(base, i, largest, sum);
      second = max(second, min(best, score));
      best = max(best, score);
    }
    worth[g] = select(best, best + second, BEST_TWO);
  }
  var kept = 0u;
  for (var choice = 0u; choice < params.kept_groups; choice++) {
    var at = 32u;
    for (var g = 0u; g < params.groups; g++) {
      let is_free = (kept & (1u << g)) == 0u;
      if (is_free && (at == 32u || worth[g] > worth[at])) { at = g; }
    }
    kept |= 1u << at;
  }
  return kept;
}

// The softmax at `at` over the logits that rank after what was chosen before and come within 2 · jitter of it.
fn sparse_weight(base: u32, at: u32, choice: u32, first_at: u32) -> f32 {
  let best = logits[base + at];
  var sum = 0.0;
  for (var i = 0u; i < params.experts; i++) {
    let logit = logits[base + i];
    let is_close = (best - logit) / max(abs(logit), best) <= 2.0 * params.jitter;
    if (i == at || (is_close && !(choice > 0u && i == first_at))) { sum += exp(logit - best); }
  }
  return 1.0 / sum;
}

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
  var kept = 0u;
  if (GROUPED) { kept = kept_groups(base, largest, sum); }

  // Each choice is the best of those that rank after the one before: no list of what is taken.
  var before = 0.0;
  var before_at = 0u;
  var first_at = 0u;
  var chosen_sum = 0.0;
  for (var choice = 0u; choice < params.top_k; choice++) {
    var best = 0.0;
    var best_at = params.experts;
    for (var i = 0u; i < params.experts; i++) {
      if (GROUPED && (kept & (1u << (i / (params.experts / params.groups)))) == 0u) { continue; }
      let value = choice_score(base, i, largest, sum);
      let ranks_after = choice == 0u || value < before || (value == before && i > before_at);
      if (ranks_after && (best_at == params.experts || value > best)) {
        best_at = i;
        best = value;
      }
    }
    // Only NaN leaves none: the first expert then, so that indices stay within bounds.
    best_at = select(best_at, 0u, best_at == params.experts);
    before = best;
    before_at = best_at;
    if (choice == 0u) { first_at = best_at; }
    let logit = logits[base + best_at];
    var weight = 0.0;
    switch SCORING {
      case SOFTMAX: { weight = exp(logit - largest) / sum; }
      case SIGMOID: { weight = sigmoid(logit); }
      default: { weight = sparse_weight(base, best_at, choice, first_at); }
    }
    chosen_sum += weight;
    routes[token * params.top_k + choice] = vec2(best_at, bitcast<u32>(weight));
  }
  let factor = params.scale / select(1.0, chosen_sum, NORMALIZED);
  for (var choice = 0u; choice < params.top_k; choice++) {
    let at = token * params.top_k + choice;
    var own = 1.0;
    if (SCALED) { own = scales[routes[at].x]; }
    routes[at].y = bitcast<u32>(own * factor * bitcast<f32>(routes[at].y));
  }
}
