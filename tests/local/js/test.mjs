// @fal-ai/client, unmodified, against the embedded fal. Its hosts are fixed, so requestMiddleware rewrites the URLs
// (fal-protocol §9.2). The server's URL, a clip and the folder with node_modules come from the environment.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";

const base = process.env.LOCAL_FAL_URL;
const require = createRequire(`${process.env.FAL_JS_HOME}/package.json`);
const { ApiError, ValidationError, createFalClient } = require("@fal-ai/client");

const clip = readFileSync(process.env.LOCAL_FAL_CLIP);
const VIDEO = "fal-ai/ltx-2.3-quality/reference-video-to-video";
const INGREDIENT = "fal-ai/ltx-2.3-quality/ingredient";
const HOSTS = { "queue.fal.run": "", "fal.run": "/run", "rest.fal.ai": "" };

const rewritten = (url) => {
  const { hostname, pathname, search } = new URL(url);
  return hostname in HOSTS ? `${base}${HOSTS[hostname]}${pathname}${search}` : url;
};
const fal = createFalClient({
  credentials: "js:secret",
  requestMiddleware: async (request) => ({ ...request, url: rewritten(request.url) }),
});
const input = {
  prompt: "a dancer",
  video_url: `data:video/mp4;base64,${clip.toString("base64")}`,
  num_frames: 9,
  resolution: { width: 256, height: 144 },
  seed: 7,
};
const local = async (path, options) => (await fetch(`${base}/_local/${path}`, options)).json();
const faults = (wish) => local("faults", { method: "PUT", body: JSON.stringify(wish) });

test("run gives the output and the request id", async () => {
  const { data, requestId } = await fal.run(VIDEO, { input });
  assert.equal(data.seed, 7);
  assert.match(requestId, /^[0-9a-f-]{36}$/);
  assert.equal((await fetch(data.video.url)).status, 200);
});

test("submit, status with logs, result", async () => {
  await faults({ concurrency: 0 });
  const { request_id: requestId } = await fal.queue.submit(VIDEO, { input, priority: "low" });
  const waiting = await fal.queue.status(VIDEO, { requestId, logs: true });
  assert.deepEqual([waiting.status, waiting.queue_position], ["IN_QUEUE", 0]);
  await assert.rejects(fal.queue.result(VIDEO, { requestId }), (error) => error.status === 400);
  await faults({});
  await fal.queue.subscribeToStatus(VIDEO, { requestId, pollInterval: 20 });
  const done = await fal.queue.status(VIDEO, { requestId, logs: true });
  assert.match(done.logs[0].message, /embedded stand-in/);
  const result = await fal.queue.result(VIDEO, { requestId });
  assert.deepEqual([result.requestId, result.data.seed], [requestId, 7]);
});

for (const mode of ["polling", "streaming"]) {
  test(`subscribe with logs, ${mode}`, async () => {
    await faults({ slow_run: { value: 0.4 } });
    const seen = new Set();
    let lines = [];
    const result = await fal.subscribe(VIDEO, {
      input,
      mode,
      logs: true,
      pollInterval: 50,
      onQueueUpdate: (update) => {
        seen.add(update.status);
        if (update.logs) lines = update.logs.map((log) => log.message);
      },
    });
    assert.equal(result.data.video.content_type, "video/mp4");
    assert.ok(seen.has("IN_PROGRESS") && seen.has("COMPLETED"), [...seen].join());
    assert.equal(lines.filter((line) => line.startsWith("Seed 7")).length, 1);
  });
}

test("a status stream ends with COMPLETED", async () => {
  await faults({});
  const { request_id: requestId } = await fal.queue.submit(VIDEO, { input });
  const stream = await fal.queue.streamStatus(VIDEO, { requestId, logs: true });
  assert.equal((await stream.done()).status, "COMPLETED");
});

test("cancel takes back what waits; what is finished or unknown is an error", async () => {
  await faults({ concurrency: 0 });
  const { request_id: requestId } = await fal.queue.submit(VIDEO, { input });
  await fal.queue.cancel(VIDEO, { requestId });
  await faults({});
  await assert.rejects(fal.queue.cancel(VIDEO, { requestId }), (error) => error.status === 400);
  await assert.rejects(
    fal.queue.cancel(VIDEO, { requestId: "01a083d0-1d3c-7000-8000-000000000000" }),
    (error) => error instanceof ApiError && error.status === 404,
  );
  await assert.rejects(fal.queue.result(VIDEO, { requestId }), (error) => error.status === 499);
});

test("an upload is served, and a Blob inside the input is uploaded", async () => {
  const file = new File([clip], "clip.mp4", { type: "video/mp4" });
  const url = await fal.storage.upload(file);
  assert.deepEqual(Buffer.from(await (await fetch(url)).arrayBuffer()), clip);
  const { data } = await fal.subscribe(VIDEO, { input: { ...input, video_url: file }, pollInterval: 20 });
  assert.equal(data.seed, 7);
});

test("above 90 MiB an upload goes in parts", async () => {
  const size = 91 * 1024 * 1024;
  const bytes = new Uint8Array(size);
  bytes[size - 1] = 9;
  const url = await fal.storage.upload(new Blob([bytes], { type: "video/mp4" }));
  const end = await fetch(url, { headers: { range: "bytes=-1" } });
  assert.equal(end.headers.get("content-range"), `bytes ${size - 1}-${size - 1}/${size}`);
  assert.equal(new Uint8Array(await end.arrayBuffer())[0], 9);
});

test("bad input is a ValidationError with the field", async () => {
  await assert.rejects(
    fal.subscribe(VIDEO, { input: { ...input, num_frames: 5 }, pollInterval: 20 }),
    (error) =>
      error instanceof ValidationError &&
      error.getFieldErrors("num_frames")[0].type === "greater_than_equal" &&
      error.requestId.length === 36,
  );
});

test("an unknown application and a malformed key are refused at submit", async () => {
  await assert.rejects(fal.queue.submit("fal-ai/no-such-model", { input }), (error) => error.status === 404);
  const stranger = createFalClient({
    credentials: "no-colon",
    requestMiddleware: async (request) => ({ ...request, url: rewritten(request.url) }),
  });
  await assert.rejects(stranger.queue.submit(VIDEO, { input }), (error) => error.status === 401);
});

test("everything through one proxy URL", async () => {
  const proxied = createFalClient({
    credentials: "js:secret",
    proxyUrl: { url: `${base}/api/fal/proxy`, when: "always" },
  });
  const sheet = { prompt: "x", image_url: "data:,no-image", num_frames: 9 };
  await assert.rejects(
    proxied.subscribe(INGREDIENT, { input: sheet, pollInterval: 20 }),
    (error) => error.body.detail[0].type === "image_load_error",
  );
  const { data } = await proxied.subscribe(VIDEO, { input, pollInterval: 20 });
  assert.ok(data.video.url.startsWith(`${base}/files/`));
});

test("a lost reply is paid for again", async () => {
  const before = (await local("bill")).count;
  await faults({ lost_reply: 1 });
  const { request_id: requestId } = await fal.queue.submit(VIDEO, { input });
  await fal.queue.subscribeToStatus(VIDEO, { requestId, pollInterval: 20 });
  let after;
  do after = (await local("bill")).count;
  while ((await local("requests")).requests.some((request) => request.state !== "done"));
  assert.equal((await local("bill")).count - before, 2, `charged ${after - before} times`);
});
