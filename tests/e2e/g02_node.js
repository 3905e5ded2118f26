// SPDX-License-Identifier: MIT
//
// g02_node.js PROTO PORT-A PORT-B PID-B SHARE-A SHARE-B - registers, searches, uploads, downloads, watches and cancels.  b has the
// files, a knows b.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [proto, portA, portB, pidB, shareA, shareB] = process.argv.slice(2);
const FACTOR = Number(process.env.TIMEOUT_FACTOR || 1);
const p2p = grpc.loadPackageDefinition(loader.loadSync(proto, { keepCase: true, longs: Number, enums: String })).p2p.v1;
const client = (service, port) =>
  new p2p[service](`127.0.0.1:${port}`, grpc.credentials.createInsecure(), { 'grpc.enable_http_proxy': 0 });
const a = { peers: client('Peers', portA), files: client('Files', portA), events: client('Events', portA) };
const b = { files: client('Files', portB) };
const BIG = fs.readFileSync(shareB + '/big.bin');
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const deadline = () => ({ deadline: Date.now() + 15000 * FACTOR });

function same(got, wanted) {
  if (JSON.stringify(got) !== JSON.stringify(wanted)) {
    throw new Error(`got ${JSON.stringify(got)}, wanted ${JSON.stringify(wanted)}`);
  }
}

async function until(seconds, condition) {
  const end = Date.now() + seconds * 1000 * FACTOR;
  for (;;) {
    const got = await condition();
    if (got) {
      return got;
    }
    if (Date.now() > end) {
      throw new Error(`did not come true in ${seconds} s: ${condition}`);
    }
    await sleep(20);
  }
}

// A unary call as a promise.
const ask = (stub, method, request) => new Promise((resolve, reject) =>
  stub[method](request, deadline(), (error, answer) => error ? reject(error) : resolve(answer)));

// All messages of a stream.
const all = (stream) => new Promise((resolve, reject) => {
  const messages = [];
  stream.on('data', (message) => messages.push(message));
  stream.on('error', reject);
  stream.on('end', () => resolve(messages));
});

async function refused(code, slug, promise) {
  const error = await promise.then((answer) => new Error('answered ' + JSON.stringify(answer)), (reason) => reason);
  same([error.code, (error.details || error.message).split(':')[0]], [code, slug]);
}

// An upload in pieces; how many of them go, and what then.
function upload(header, data, last = 'end') {
  let call;
  const answer = new Promise((resolve, reject) => {
    call = a.files.Upload(deadline(), (error, value) => error ? reject(error) : resolve(value));
  });
  call.write({ header });
  for (let at = 0; at < data.length; at += 1 << 20) {
    call.write({ data: data.subarray(at, at + (1 << 20)) });
  }
  if (last === 'end') {
    call.end({ is_last: true });
  }
  answer.catch(() => {});
  return { call, answer };
}

const checks = {
  async 'Register answers with this peer and those that it knows'() {
    const id = 'a'.repeat(51) + 'q';
    const node = { id, name: 'client', version: '1', addresses: ['http://127.0.0.1:9'], epoch: 1 };
    const answer = await ask(a.peers, 'Register', { node });
    same([answer.node.name, answer.known.filter((other) => other.name === 'b').length], ['a', 1]);
    await refused(grpc.status.INVALID_ARGUMENT, 'bad-request', ask(a.peers, 'Register', { node: { ...node, id: 'x' } }));
    same((await all(a.peers.List({}, deadline()))).filter((peer) => peer.state === 'PEER_STATE_HERE').length, 1);
  },
  async 'Search streams what fits, and pages'() {
    const pages = await all(a.files.Search({ text: 'many-' }, deadline()));
    const names = pages.flatMap((page) => page.files.map((file) => file.name));
    const sorted = [...names].sort();
    same([names.length, sorted[0], sorted[129]], [130, 'many-001', 'many-130']);
    const [first] = await all(a.files.Search({ text: 'many-', limit: 20 }, deadline()));
    const [second] = await all(a.files.Search({ text: 'many-', limit: 1, cursor: first.cursor }, deadline()));
    same(second.files.map((file) => file.name), [names[20]]);
  },
  async 'Upload makes a file, and goes on after a break'() {
    const half = BIG.subarray(0, 4 << 20);
    const broken = upload({ name: 'node.bin', upload_id: 'n', size: BIG.length, has_size: true }, half, 'wait');
    const offset = () => ask(a.files, 'Stat', { file: { name: 'node.bin' }, upload_id: 'n' })
      .then((answer) => answer.upload_offset, () => 0);
    await until(10, async () => await offset() === half.length);
    same(fs.existsSync(shareA + '/node.bin'), false);
    broken.call.cancel();
    await refused(grpc.status.CANCELLED, 'Cancelled on client', broken.answer);
    await until(10, async () => await offset() === half.length);
    const rest = { name: 'node.bin', upload_id: 'n', size: BIG.length, has_size: true, offset: half.length };
    // The end of the broken call may still be on its way.
    const answer = await until(10, () => upload(rest, BIG.subarray(half.length)).answer.catch((error) => {
      if (error.code !== grpc.status.ABORTED) {
        throw error;
      }
    }));
    same([answer.is_new, answer.content.size], [true, BIG.length]);
    same(fs.readFileSync(shareA + '/node.bin').equals(BIG), true);
  },
  // The library ends the stream before it resets it: to the server that looks like a file which has come as a whole.
  async 'a cancelled upload never makes a file, whatever it had sent'() {
    for (let i = 0; i < 30; i++) {
      const broken = upload({ name: 'cancelled.bin' }, BIG.subarray(0, (i % 3) << 20), 'wait');
      await sleep(i);
      broken.call.cancel();
      await refused(grpc.status.CANCELLED, 'Cancelled on client', broken.answer);
    }
    const partial = () => fs.readdirSync(shareA + '/.p2pd-partial').filter((name) => name.startsWith('upload-'));
    await until(10, async () => partial().length === 0);
    same(fs.existsSync(shareA + '/cancelled.bin'), false);
  },
  async 'Upload is refused with status and slug'() {
    await refused(grpc.status.INVALID_ARGUMENT, 'bad-name', upload({ name: '../x' }, BIG).answer);
    const expect = { size: 3, root: crypto.createHash('sha256').update('abc').digest() };
    await refused(grpc.status.DATA_LOSS, 'bad-content', upload({ name: 'x', expect }, Buffer.from('abd')).answer);
    same(fs.existsSync(shareA + '/x'), false);
  },
  async 'Download by name, from an offset, by content id, from another holder'() {
    const get = async (files, request) =>
      Buffer.concat((await all(files.Download(request, deadline()))).map((message) => message.data || Buffer.alloc(0)));
    const { file } = await ask(b.files, 'Stat', { file: { name: 'big.bin' } });
    same((await get(b.files, { file: { name: 'big.bin' } })).equals(BIG), true);
    same((await get(b.files, { file: { content: file.content } })).equals(BIG), true);
    same((await get(b.files, { file: { name: 'big.bin' }, offset: 77, length: 3000000 })).equals(BIG.subarray(77, 3000077)), true);
    same((await get(a.files, { file: { name: 'big.bin' } })).equals(BIG), true);
    await refused(grpc.status.OUT_OF_RANGE, 'bad-range', get(b.files, { file: { name: 'big.bin' }, offset: BIG.length + 1 }));
  },
  async 'Watch tells of a new file'() {
    const seen = new Map();
    const stream = a.events.Watch({}, deadline());
    let ended;
    stream.on('data', (event) => seen.set(event.name, event));
    stream.on('error', (error) => { ended = error.code; });
    await until(10, async () => {
      fs.writeFileSync(`${shareA}/marker-${Date.now()}`, 'x');
      await sleep(100);
      return seen.size > 0;
    });
    fs.writeFileSync(shareA + '/news', 'news');
    const event = await until(10, async () => seen.get('news'));
    same([event.event, event.content.size], ['file-added', 4]);
    stream.cancel();
    await until(10, async () => ended === grpc.status.CANCELLED);
  },
  async 'a cancelled download leaves nothing behind'() {
    // The catalog keeps what it opened for many readers at once.  What is closed just now has no link any more.
    const link = (fd) => { try { return fs.readlinkSync(`/proc/${pidB}/fd/${fd}`); } catch { return 'catalog.db'; } };
    const open = () => fs.readdirSync(`/proc/${pidB}/fd`).filter((fd) => !link(fd).includes('catalog.db')).length;
    const cancel = () => new Promise((resolve) => {
      const stream = b.files.Download({ file: { name: 'big.bin' } }, deadline());
      stream.once('data', () => stream.cancel());
      stream.on('error', resolve);
    });
    const cancelled = await Promise.all(Array.from({ length: 8 }, cancel));
    same(cancelled.map((error) => error.code), Array(8).fill(grpc.status.CANCELLED));
    const before = open();
    for (let i = 0; i < 3; i++) {
      await Promise.all(Array.from({ length: 8 }, cancel));
    }
    // The daemons may keep connections for the next time, fewer than these calls were.
    await until(10, async () => open() <= before + 8);
  },
};

(async () => {
  for (const [sentence, check] of Object.entries(checks)) {
    try {
      await check();
      console.log('ok -', sentence);
    } catch (error) {
      console.log('not ok -', sentence);
      console.log('# ' + String(error.stack).slice(0, 1500).replace(/\n/g, '\n# '));
    }
  }
  process.exit(0);
})();
