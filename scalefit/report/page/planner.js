"use strict";
// The planner of a report: what scalefit.planning.plan answers for a budget, from the same joint
// draws. Arithmetic first, then the form. Nothing is fetched.

const SCAN = { places: 400, fine: 16, rounds: 10 };
const CLOSE = 1e-13;
const ROUNDING = 1e-9;
const NEARLY = 1 - 1e-6;
const DAY = 86400;
const HOUR = 3600;
const BYTES_PER_PARAM = 16;

// Losses by form: constants, N, D and the unique tokens (if the form asks for them).
const worth = (logRatio, decay) => Math.log1p(-decay * Math.expm1(-Math.expm1(logRatio) / decay));

const FORMS = {
  chinchilla: ([E, A, B, alpha, beta], n, d) => E + A * n ** -alpha + B * d ** -beta,
  generalised: ([E, A, B, alpha, beta, k], n, d) =>
    E + ((A * n ** -alpha) ** k + (B * d ** -beta) ** k) ** (1 / k),
  "data-constrained": ([E, A, B, alpha, beta, repeats, excess], n, d, unique) => {
    const logN = Math.log(n);
    const logNew = Math.log(Math.min(unique, d));
    const suited = (Math.log(alpha * A) - Math.log(beta * B) + beta * logNew) / alpha;
    const useful = Math.min(logN, suited);
    const logSize = useful + worth(logN - useful, excess);
    const logData = logNew + worth(Math.log(d) - logNew, repeats);
    return E + A * Math.exp(-alpha * logSize) + B * Math.exp(-beta * logData);
  },
};

// The log N of least loss between two bounds: a scan, then finer ones about the best.
function lowest(loss, low, high) {
  let best = low;
  for (let round = 0; round <= SCAN.rounds; round++) {
    const places = round ? SCAN.fine : SCAN.places;
    const step = (high - low) / (places - 1);
    let at = 0;
    let least = Infinity;
    for (let i = 0; i < places; i++) {
      const value = loss(low + i * step);
      if (value < least) [least, at] = [value, i];
    }
    best = low + at * step;
    [low, high] = [low + Math.max(at - 1, 0) * step, low + Math.min(at + 1, places - 1) * step];
  }
  return best;
}

// Least loss for C = 6ND + 2NT with at most maxParams, for one set of constants.
function best(form, theta, flops, { unique, served, maxParams }) {
  const limited = unique !== null;
  const predict = (n, d) => FORMS[limited ? "data-constrained" : form](theta, n, d, unique);
  if (form === "chinchilla" && !limited && !served && maxParams === Infinity) {
    return closed(theta, flops);
  }
  const tokens = (n) => Math.max((flops / n - 2 * served) / 6, 1);
  const most = Math.min(maxParams, flops / (6 + 2 * served));
  const logMost = Math.log(most);
  const logN = lowest((x) => predict(Math.exp(x), tokens(Math.exp(x))), 0, logMost);
  const params = logMost - logN < CLOSE ? most : Math.exp(logN);
  const data = tokens(params);
  const spent = 6 * params * data + 2 * params * served;
  return { flops: spent, params, tokens: data, loss: predict(params, data) };
}

// The optimum of L = E + A/N^alpha + B/D^beta (Hoffmann et al. 2022, equation 4).
function closed([E, A, B, alpha, beta], flops) {
  const logG = (Math.log(alpha * A) - Math.log(beta * B)) / (alpha + beta);
  const logND = Math.log(flops / 6);
  const params = Math.exp(logG + (beta / (alpha + beta)) * logND);
  const tokens = Math.exp((alpha / (alpha + beta)) * logND - logG);
  const loss = FORMS.chinchilla([E, A, B, alpha, beta], params, tokens);
  return { flops, params, tokens, loss: Number.isNaN(loss) ? E : loss };
}

// What is said of an optimum, by name.
function numbers(at) {
  const sixND = 6 * at.params * at.tokens;
  const training = Math.abs(sixND / at.flops - 1) < ROUNDING ? at.flops : sixND;
  return {
    params: at.params,
    tokens: at.tokens,
    tokens_per_param: at.tokens / at.params,
    loss: at.loss,
    training_flops: training,
    serving_flops: at.flops - training,
  };
}

// The observed quantile nearest to a share: Hyndman & Fan 1996, type 3.
function quantile(sorted, share) {
  const place = sorted.length * share - 0.5;
  const below = Math.floor(place);
  const even = place === below && below % 2 === 0;
  const index = Math.min(Math.max(even ? below - 1 : below, 0), sorted.length - 1);
  return sorted[index];
}

// A plan for {flops, unique, served, device, count, mfu, price}; null stands for what is not said.
function plan(law, asked) {
  const room = asked.device && asked.count ? (asked.count * asked.device.memory) / BYTES_PER_PARAM : Infinity;
  const terms = { unique: asked.unique, served: asked.served || 0, maxParams: room };
  const lent = asked.unique !== null && law.form !== "data-constrained" ? law.borrowed : [];
  const answer = (theta) => numbers(best(law.form, [...theta, ...lent], asked.flops, terms));
  const value = answer(law.theta);
  const drawn = law.draws.map(answer);
  const found = {};
  for (const name of Object.keys(value)) {
    const column = drawn.map((one) => (Number.isNaN(one[name]) ? Infinity : one[name]));
    column.sort((a, b) => a - b);
    const tail = (1 - law.level) / 2;
    const known = column.length > 0;
    found[name] = {
      value: value[name],
      low: known ? quantile(column, tail) : null,
      high: known ? quantile(column, 1 - tail) : null,
    };
  }
  if (asked.device) Object.assign(found, bill(found.training_flops, asked));
  const extrapolation = law.flops_seen ? value.training_flops / law.flops_seen : null;
  const held = value.params >= room * NEARLY;
  return { ...found, extrapolation, held, epochs: asked.unique ? value.tokens / asked.unique : null };
}

// Hours of one device, days of all of them, and money, for so many FLOP of training.
function bill(training, { device, count, mfu, price }) {
  const times = (factor) =>
    Object.fromEntries(
      Object.entries(training).map(([end, x]) => [end, x === null ? null : x * factor]),
    );
  const hours = 1 / (device.peak * mfu * HOUR);
  const said = { device_hours: times(hours) };
  if (count) said.days = times((hours * HOUR) / DAY / count);
  if (price) said.cost = times(hours * price);
  return said;
}

// Amounts as people write them: 1e21, 2.5ZFLOP, 11.6PF-days, 6.7B, 300B tokens.
const AMOUNT = /^\s*((?:\d[\d,_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*$/;
const COUNTS = { "": 1, K: 1e3, M: 1e6, B: 1e9, G: 1e9, T: 1e12 };
const PREFIXES = ["", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q"];

function amount(text, scaleOf) {
  const match = AMOUNT.exec(text);
  const scale = match ? scaleOf(match[2]) : null;
  const found = scale === null ? NaN : Number(match[1].replace(/[,_]/g, "")) * scale;
  return found > 0 && found < Infinity ? found : NaN;
}

const parseCount = (text) =>
  amount(text, (unit) => {
    const match = /^([KMBGT]?)\s*(?:tokens?)?$/i.exec(unit);
    return match ? COUNTS[match[1].toUpperCase()] : null;
  });

const parseFlops = (text) =>
  amount(text, (unit) => {
    if (!unit) return 1;
    const match = /^([kMGTPEZYRQ]?)(?:(F(?:LOPS?)?(?:\/s)?[- ]?days?)|FLOPS?)$/.exec(unit);
    return match ? 1000 ** PREFIXES.indexOf(match[1]) * (match[2] ? DAY : 1) : null;
  });

function showCount(x) {
  if (x === null || !Number.isFinite(x)) return "unbounded";
  if (x < 1e-3 || x >= 1e15) return showFlops(x);
  const power = Math.max(Math.floor(Math.log10(Number(x.toPrecision(3))) / 3), 0);
  return `${Number((x / 1000 ** power).toPrecision(3))}${["", "K", "M", "B", "T"][power]}`;
}

function showFlops(x) {
  if (x === null || !Number.isFinite(x)) return "unbounded";
  const [mantissa, exponent] = x.toExponential(2).split("e");
  return `${Number(mantissa)}e${Number(exponent)}`;
}

function showNumber(x) {
  if (x === null || !Number.isFinite(x)) return "unbounded";
  const exponent = x ? Math.floor(Math.log10(Math.abs(x))) : 0;
  return exponent >= -4 && exponent < 6 ? x.toFixed(Math.max(0, 3 - exponent)) : x.toExponential(3);
}

// The form -------------------------------------------------------------------------------------

const ROWS = [
  ["params", "parameters N*", showCount],
  ["tokens", "tokens D*", showCount],
  ["tokens_per_param", "tokens per parameter", showNumber],
  ["loss", "loss", showNumber],
  ["training_flops", "training FLOP", showFlops],
  ["serving_flops", "serving FLOP", showFlops],
  ["device_hours", "device hours", showCount],
  ["days", "days", showNumber],
  ["cost", "cost", showCount],
];

const FIELDS = {
  flops: [parseFlops, "a budget is an amount of compute, such as 1e21, 2.5ZFLOP or 11.6PF-days"],
  unique: [parseCount, "unique tokens are a count, such as 300B or 2e10"],
  served: [parseCount, "tokens served are a count, such as 2T or 1e12"],
  count: [(x) => (/^\d+$/.test(x.trim()) && Number(x) > 0 ? Number(x) : NaN), "devices are a whole number, such as 512"],
  mfu: [(x) => (Number(x) > 0 && Number(x) <= 1 ? Number(x) : NaN), "the part of the peak that is used lies between 0 and 1, such as 0.4"],
  price: [(x) => (Number(x) > 0 ? Number(x) : NaN), "a price is a positive number, of one device for an hour"],
};

// What the form asks, or the sentence that says which field is wrong.
function read(form, law) {
  const asked = { device: law.devices.find((one) => one.key === form.elements.device.value) || null };
  for (const [name, [parse, wrong]] of Object.entries(FIELDS)) {
    const input = form.elements[name];
    const text = input ? input.value.trim() : "";
    asked[name] = text === "" ? null : parse(text);
    const bad = Number.isNaN(asked[name]) || (name === "flops" && asked.flops === null);
    if (input) input.setAttribute("aria-invalid", String(bad));
    if (bad) return { wrong: `${text || "Nothing"} is not understood: ${wrong}.` };
  }
  if (asked.device && asked.mfu === null) asked.mfu = 0.4;
  return { asked };
}

function remarks(found, law, asked) {
  const said = [];
  if (found.extrapolation > 10) {
    said.push(`${Number(found.extrapolation.toPrecision(2))} times the largest run behind the law: the intervals cover sampling error, not the form of the law.`);
  }
  if (found.held) said.push(`N is held by the memory of the devices, at ${BYTES_PER_PARAM} bytes a parameter.`);
  if (asked.unique !== null) {
    said.push(`The unique tokens are seen ${showNumber(found.epochs)} times.`);
    if (law.lender) said.push(law.lender);
  }
  return said;
}

function show(found, law, asked) {
  const body = document.getElementById("plan-rows");
  body.replaceChildren();
  for (const [name, label, format] of ROWS) {
    const number = found[name];
    if (!number || (name === "serving_flops" && !asked.served)) continue;
    const row = body.insertRow();
    row.dataset.name = name;
    for (const end of ["value", "low", "high"]) {
      row.dataset[end] = number[end] === null ? "" : String(number[end]);
    }
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name === "loss" && law.unit !== "unknown" ? `loss, ${law.unit}` : label;
    row.append(head);
    row.insertCell().textContent = format(number.value);
    row.insertCell().textContent =
      number.low === null ? "–" : `${format(number.low)} … ${format(number.high)}`;
  }
  const list = document.getElementById("plan-remarks");
  list.replaceChildren(
    ...remarks(found, law, asked).map((text) =>
      Object.assign(document.createElement("li"), { textContent: text }),
    ),
  );
}

function start() {
  const data = document.getElementById("planner-data");
  if (!data) return;
  const law = JSON.parse(data.textContent);
  const form = document.getElementById("planner");
  const error = document.getElementById("plan-error");
  const answer = document.getElementById("plan-answer");
  const update = () => {
    const { asked, wrong } = read(form, law);
    error.textContent = wrong || "";
    answer.hidden = Boolean(wrong);
    if (asked) show(plan(law, asked), law, asked);
  };
  let waiting;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(update, 150);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    update();
  });
  update();
}

start();
