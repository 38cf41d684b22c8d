import { getWebGpuDevice, loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

const data = JSON.parse(document.getElementById("data").textContent);
const arrays = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
const WARMUPS = 3;

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

async function unpacked(text) {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const values = (tensor) => new arrays[tensor.dtype](bytes(tensor.data).buffer);

const quantile = (times, share) => {
  const sorted = [...times].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
};

// The step of the browser's clock, which it makes coarse on purpose.
function clockStep() {
  let step = Infinity;
  for (let n = 0; n < 20; n++) {
    const start = performance.now();
    let now = start;
    while (now === start) now = performance.now();
    step = Math.min(step, now - start);
  }
  return step;
}

// rms of the difference as a share of the CPU's rms; infinite for what can't be compared.
function difference(found, wanted) {
  const right = values(wanted);
  if (found.length !== right.length) return Infinity;
  const [scale, zero] = wanted.quantization ?? [0, 0];
  const real = (value) => (scale ? scale * (value - zero) : value);
  let apart = 0;
  let size = 0;
  for (let i = 0; i < right.length; i++) {
    apart += (real(found[i]) - real(right[i])) ** 2;
    size += real(right[i]) ** 2;
  }
  if (!Number.isFinite(apart)) return Infinity;
  return size ? Math.sqrt(apart / size) : apart ? Infinity : 0;
}

// One inference, until its output is here: `run` alone returns before a GPU is done.
async function inference(job) {
  const outputs = await job.model.run([job.input]);
  const found = await outputs[0].data();
  const copy = job.kept ? found : found.slice();
  job.kept = true;
  for (const output of outputs) output.delete();
  return copy;
}

async function prepared(file, accelerator) {
  const job = { file: file.name, backend: accelerator, outcome: "ok", reason: "", runs: 0 };
  const content = await unpacked(file.gzip);
  let start = performance.now();
  const model = await loadAndCompile(content, { accelerator });
  job.compile_ms = performance.now() - start;
  if (accelerator === "webgpu" && (model.options.accelerator !== "webgpu" || !model.isFullyAccelerated)) {
    model.delete();
    return { ...job, outcome: "unsupported", reason: "WebGPU doesn't take every op" };
  }
  job.model = model;
  job.input = new Tensor(values(file.input), file.input.shape);
  if (accelerator === "webgpu") job.input = await job.input.moveTo("webgpu");
  start = performance.now();
  const found = await inference(job);
  job.first_ms = performance.now() - start;
  job.relative_rms = difference(found, file.output);
  const allowed = file.quantized ? data.integer_tolerance : data.tolerance;
  if (!(job.relative_rms <= allowed)) {
    return {
      ...job,
      outcome: "mismatch",
      reason: `the outputs differ from the CPU's by ${(100 * job.relative_rms).toPrecision(3)}%`,
    };
  }
  return job;
}

// All jobs in turns, so that a busy phone or a hot one falls on all of them.
async function timed(jobs, step) {
  const rounds = [];
  let fastest = Infinity;
  for (const job of jobs) {
    for (let n = 0; n < WARMUPS; n++) {
      const start = performance.now();
      await inference(job);
      fastest = Math.min(fastest, performance.now() - start);
    }
  }
  // So many back to back that the clock's step is a twentieth of what is read from it.
  const batch = Math.max(1, Math.ceil((20 * step) / Math.max(fastest, step / 10)));
  const began = performance.now();
  while (rounds.length * batch < data.runs || performance.now() - began < 1000 * data.min_seconds) {
    const times = jobs.map(() => 0);
    for (let n = 0; n < jobs.length; n++) {
      const place = (n + rounds.length) % jobs.length;
      await inference(jobs[place]);
      const start = performance.now();
      for (let run = 0; run < batch; run++) await inference(jobs[place]);
      times[place] = (performance.now() - start) / batch;
    }
    rounds.push(times);
  }
  jobs.forEach((job, place) => {
    const own = rounds.map((times) => times[place]);
    job.latency_ms_p50 = quantile(own, 0.5);
    job.latency_ms_p90 = quantile(own, 0.9);
    job.runs = rounds.length * batch;
    job.batch = batch;
    if (jobs[0].first) job.ratio = quantile(rounds.map((times) => times[place] / times[0]), 0.5);
  });
}

async function adapter() {
  if (!navigator.gpu) {
    const why = window.isSecureContext ? "this browser has none" : "not over http: use localhost or https";
    return { reason: `no WebGPU here: ${why}` };
  }
  if (!getWebGpuDevice()) return { reason: "the browser found no GPU" };
  const found = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  const info = found?.info ?? {};
  const words = [info.vendor, info.architecture, info.device, info.description].filter(Boolean);
  const software = Boolean(info.isFallbackAdapter) || /swiftshader|llvmpipe|software/i.test(words.join(" "));
  return { name: words.join(" ") || "unnamed", software };
}

function shown(job) {
  const digits = (value) => (value === undefined ? "-" : Number(value.toPrecision(3)).toString());
  const cells = [
    job.file, job.backend, job.software ? `${job.outcome} (software)` : job.outcome,
    digits(job.latency_ms_p50), digits(job.latency_ms_p90), digits(job.ratio), digits(job.compile_ms),
    digits(job.first_ms), job.relative_rms === undefined ? "-" : job.relative_rms.toExponential(1), job.runs || "-",
  ];
  const row = document.createElement("tr");
  for (const cell of cells) row.insertCell().textContent = cell;
  if (job.runs === 0) row.cells[2].className = "bad";
  row.title = job.reason;
  document.getElementById("rows").append(row);
}

async function run() {
  const state = document.getElementById("state");
  const title = document.title;
  const said = (text) => {
    state.textContent = text;
    document.title = `${text} - ${title}`;
  };
  said("starting LiteRT.js");
  const loader = URL.createObjectURL(
    new Blob([await unpacked(document.getElementById("loader").textContent)], { type: "text/javascript" }),
  );
  self.Module = { wasmBinary: await unpacked(document.getElementById("wasm").textContent) };
  await loadLiteRt(`${loader}#litert.js`);
  const step = clockStep();
  const gpu = await adapter();
  const results = [];
  for (const backend of ["wasm", "webgpu"]) {
    const jobs = [];
    for (const [place, file] of data.files.entries()) {
      said(`${file.name} on ${backend}`);
      const none = { file: file.name, backend, runs: 0 };
      let job;
      if (file.refused) job = { ...none, outcome: "unsupported", reason: file.refused };
      else if (backend === "webgpu" && gpu.reason) job = { ...none, outcome: "no-adapter", reason: gpu.reason };
      else {
        try {
          job = await prepared(file, backend);
        } catch (error) {
          job = { ...none, outcome: "unsupported", reason: String(error?.message ?? error) };
        }
      }
      job.first = place === 0;
      if (backend === "webgpu" && gpu.software) job.software = true;
      results.push(job);
      if (job.outcome === "ok") jobs.push(job);
    }
    if (jobs.length) {
      said(`timing on ${backend}`);
      await timed(jobs, step);
    }
    for (const job of results.filter((each) => each.backend === backend)) shown(job);
  }
  const report = {
    browser: navigator.userAgent,
    cores: navigator.hardwareConcurrency,
    litertjs: data.litertjs,
    build: data.compatible ? "compatible" : "relaxed SIMD",
    threads: 1,
    clock_step_ms: step,
    gpu: gpu.name ?? null,
    reference: data.reference,
    results: results.map(({ model, input, kept, first, ...rest }) => rest),
  };
  const notes = results.filter((job) => job.reason).map((job) => `${job.file} on ${job.backend}: ${job.reason}.`);
  if (gpu.software) notes.push(`${gpu.name} is a CPU in a GPU's place: not a performance number.`);
  document.getElementById("notes").textContent = notes.join(" ");
  said("done");
  return report;
}

let report = null;
const button = document.getElementById("run");
const copy = document.getElementById("copy");

async function start() {
  button.disabled = true;
  try {
    report = await run();
    copy.disabled = false;
  } catch (error) {
    report = { error: String(error?.stack ?? error) };
    document.getElementById("state").textContent = `failed: ${error?.message ?? error}`;
  }
  // The program that serves the page, if one does, prints the result too.
  if (location.protocol.startsWith("http")) {
    await fetch("result", { method: "POST", body: JSON.stringify(report) }).catch(() => {});
  }
}

button.addEventListener("click", start);
copy.addEventListener("click", async () => {
  const text = JSON.stringify(report, null, 2);
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
});
document.getElementById("place").textContent =
  `${data.files.length} files, LiteRT.js ${data.litertjs}, one thread; medians over at least ${data.runs} runs. ` +
  `A file is timed only if its outputs are those of ${data.reference} on a CPU.`;
if (location.hash === "#run") start();
