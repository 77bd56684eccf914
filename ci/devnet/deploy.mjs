// Waits for an anvil, deploys the contracts on it, and writes what others need to know about it. Called by ci/devnet/up.
//
//   node deploy.mjs DIR CONTRACTS PID
//
// DIR/anvil.log says where anvil listens. Written: devnet.json, words, and for alice, bob and hub a key and a configuration.

import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const [dir, contracts, pid] = process.argv.slice(2);

// Accounts 1 to 3 of "test test test test test test test test test test test junk"; account 0 deploys.
const PEOPLE = {
  alice: ["0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"],
  bob: ["0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC", "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a"],
  hub: ["0x90F79bf6EB2c4f870365E785982E1f101E93b906", "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6"],
};
const DEPLOYER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

function fail(why) {
  console.error(`ci/devnet/up: ${why}`);
  process.exit(1);
}

const alive = () => existsSync(`/proc/${pid}`) || !existsSync("/proc");

async function listening() {
  for (let i = 0; i < 400 && alive(); i++) {
    const found = readFileSync(join(dir, "anvil.log"), "utf8").match(/Listening on (127\.0\.0\.1:\d+)/);
    if (found) return `http://${found[1]}`;
    await pause(25);
  }
  fail(`anvil did not start: ${readFileSync(join(dir, "anvil.log"), "utf8").slice(-400)}`);
}

const url = await listening();

async function rpc(method, ...params) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
  const { result, error } = await answer.json();
  if (error) fail(`${method}: ${error.message}`);
  return result;
}

function bytecode(name) {
  const artefacts = join(contracts, "node_modules/@statechannels/nitro-protocol/dist/artifacts/contracts");
  return JSON.parse(readFileSync(join(artefacts, `${name}.sol/${name}.json`), "utf8")).bytecode;
}

async function deploy(name) {
  const tx = await rpc("eth_sendTransaction", { from: DEPLOYER, data: bytecode(name), gas: "0x989680" });
  await rpc("evm_mine");
  const receipt = await rpc("eth_getTransactionReceipt", tx);
  if (receipt?.status !== "0x1") fail(`${name} was not deployed`);
  return receipt.contractAddress;
}

// A port that was free a moment ago: this one, if it was.
async function freePort(preferred = 0) {
  const server = createServer();
  const listens = (port) =>
    new Promise((done, failed) => server.once("error", failed).listen(port, "127.0.0.1", done));
  await listens(preferred).catch(() => listens(0));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

// Where the chain is at its usual port, so are the metrics of Alice, Bob and the hub: 9090, 9091, 9092.
let metricsPort = new URL(url).port === "8545" ? 9090 : 0;
const nextMetricsPort = () => freePort(metricsPort && metricsPort++);

const chain = {
  rpc_url: url,
  ws_url: url.replace("http", "ws"),
  chain_id: Number(await rpc("eth_chainId")),
  adjudicator: await deploy("NitroAdjudicator"),
  consensus_app: await deploy("ConsensusApp"),
  payment_app: await deploy("VirtualPaymentApp"),
  start_block: 0,
  anvil_pid: Number(pid),
};
const nodes = {};
for (const [name, [address, key]] of Object.entries(PEOPLE)) {
  const keyFile = join(dir, `${name}.key`);
  writeFileSync(keyFile, `${key}\n`);
  chmodSync(keyFile, 0o600);
  nodes[name] = { address, key, key_file: keyFile, p2p_listen: `127.0.0.1:${await freePort()}`, metrics_port: await nextMetricsPort(), rpc_listen: `127.0.0.1:${await freePort()}`, config: join(dir, `${name}.toml`) };
}
for (const [name, node] of Object.entries(nodes)) {
  const peers = Object.entries(nodes).filter(([other]) => other !== name);
  const lines = [
    `# Written by ci/devnet/up for the chain that runs now: money there is worth nothing.`,
    // A chain of its own each time: a log of the one before would be refused.
    `data_dir   = ${JSON.stringify(join(dir, `${name}-${pid}`))}`,
    `p2p_listen = "${node.p2p_listen}"`,
    `metrics_port = ${node.metrics_port}`,
    `rpc_url    = "${url}"`,
    ``,
    ...peers.flatMap(([, p]) => [`[[peers]]`, `address = "${p.address}"`, `at      = "${p.p2p_listen}"`, ``]),
    `[keys]`,
    `channel_file = ${JSON.stringify(node.key_file)}`,
    ``,
    `[chain]`,
    `chain_id      = ${chain.chain_id}`,
    `adjudicator   = "${chain.adjudicator}"`,
    `consensus_app = "${chain.consensus_app}"`,
    `payment_app   = "${chain.payment_app}"`,
    `hints         = ["${chain.ws_url}"]`,
    `confirmations = 2`,
    `block_time_s  = 1`,
    `inclusion_s   = 5`,
    ``,
    `[rpc]`,
    `listen = "${node.rpc_listen}"`,
    ``,
  ];
  writeFileSync(node.config, lines.join("\n"));
}
writeFileSync(join(dir, "devnet.json"), `${JSON.stringify({ chain, nodes }, null, 2)}\n`);
const words = [
  `a chain runs at ${url} as process ${pid}`,
  `  adjudicator   ${chain.adjudicator}`,
  `  consensus app ${chain.consensus_app}`,
  `  payment app   ${chain.payment_app}`,
  ...Object.entries(nodes).map(([name, n]) => `  ${name.padEnd(13)} ${n.address}  cargo fairway run --config ${n.config}`),
  `end it with ci/devnet/down`,
  ``,
];
writeFileSync(join(dir, "words"), words.join("\n"));
