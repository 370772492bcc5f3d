/**
 * `npm run bench -- gateway [--rounds N --seconds S]`: throughput and CPU per request of the gateway, nginx with one worker, http-proxy-3 and a
 * plain proxy of node:http, in interleaved rounds before the same server; medians. CPU is that of the proxy alone.
 * `--prof FOLDER` writes a CPU profile of the gateway.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { freePort } from '../test/setup/ports.ts'
import { waitFor } from '../test/setup/servers.ts'
import { cpuSeconds, load } from './load.ts'
import { installPeers } from './peers.ts'
import { median } from './report.ts'

const KINDS = ['holdfast', 'nginx', 'http-proxy-3', 'node:http'] as const
const CONNECTIONS = 32
const READY_MS = 30_000

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, seconds: { type: 'string', default: '3' }, prof: { type: 'string' } },
})

interface Proxy {
  readonly name: string
  readonly url: string
  /** All its processes. */
  readonly pids: readonly number[]
  readonly children: readonly ChildProcess[]
}

const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))

async function startNode(kind: string, target = ''): Promise<Proxy> {
  const execArgv = values.prof !== undefined && kind === 'holdfast' ? ['--cpu-prof', `--cpu-prof-dir=${values.prof}`] : []
  const child = fork(join(import.meta.dirname, 'gateway-process.ts'), [kind, target], {
    env: { ...process.env, NODE_ENV: 'production' },
    execArgv,
  })
  const port = await new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${kind} was not ready after ${READY_MS} ms`)), READY_MS)
    child.once('message', (message: { port: number }) => resolve((clearTimeout(timer), message.port)))
    child.once('exit', (code) => reject(new Error(`${kind} ended with ${String(code)} before it was ready`)))
  })
  return { name: kind, url: `http://127.0.0.1:${port}`, pids: [child.pid as number], children: [child] }
}

/** One worker, kept connections to the server and the same X-Forwarded-* fields. */
function nginxConfiguration(port: number, target: string): string {
  return `daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
events { worker_connections 1024; }
http {
  access_log off; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi; keepalive_requests 1000000000;
  upstream servers { server ${new URL(target).host}; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://servers; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;
    }
  }
}
`
}

async function startNginx(target: string): Promise<Proxy> {
  const port = await freePort()
  const file = join(folder, 'nginx.conf')
  writeFileSync(file, nginxConfiguration(port, target))
  mkdirSync(join(folder, 'logs'), { recursive: true })
  const child = spawn('nginx', ['-p', folder, '-c', file], { stdio: ['ignore', 'ignore', 'inherit'] })
  const master = child.pid as number
  const url = `http://127.0.0.1:${port}`
  await waitFor(async () => (await fetch(url)).ok, READY_MS, 'nginx answering')
  const workers = readFileSync(`/proc/${master}/task/${master}/children`, 'latin1').trim().split(' ').map(Number)
  return { name: 'nginx', url, pids: [master, ...workers], children: [child] }
}

interface Sample {
  readonly cpuMicros: number
  readonly perSecond: number
}

/** What a browser with a session sends. */
function script(): string {
  const file = join(folder, 'request.lua')
  writeFileSync(
    file,
    `wrk.headers["Cookie"] = "session=${'a'.repeat(90)}; session-n1=${'b'.repeat(60)}"
wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
wrk.headers["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
wrk.headers["Accept-Language"] = "en-US,en;q=0.5"
wrk.headers["Accept-Encoding"] = "gzip, deflate, br"
done = function(summary)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d\\n", summary.requests, summary.duration, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
`,
  )
  return file
}

async function measure(proxy: Proxy, lua: string, seconds: number): Promise<Sample> {
  const spent = (): number => proxy.pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
  const before = spent()
  const result = await load(`${proxy.url}/products?page=2`, lua, seconds, CONNECTIONS)
  if (result.failed > 0) throw new Error(`${proxy.name}: ${result.failed} requests failed`)
  return { cpuMicros: ((spent() - before) / result.requests) * 1e6, perSecond: result.requests / result.seconds }
}

function report(samples: ReadonlyMap<string, readonly Sample[]>): string {
  const middle = (name: string, pick: keyof Sample): number => median((samples.get(name) ?? []).map((sample) => sample[pick]))
  const rows = [...samples.keys()].map((name) => {
    const [cpu, rate] = [middle(name, 'cpuMicros'), middle(name, 'perSecond')]
    const ofNginx = [cpu / middle('nginx', 'cpuMicros'), rate / middle('nginx', 'perSecond')]
    return [name, cpu.toFixed(1), (ofNginx[0] as number).toFixed(2), rate.toFixed(0), (ofNginx[1] as number).toFixed(2)]
  })
  return [['proxy', 'CPU µs/request', 'of nginx', 'requests/s', 'of nginx'], ...rows]
    .map(([name = '', ...cells]) => `${name.padEnd(16)}${cells.map((cell) => cell.padStart(16)).join('')}`)
    .join('\n')
}

installPeers()
const running: Proxy[] = []
try {
  const application = await startNode('application')
  running.push(application)
  const proxies: Proxy[] = []
  for (const kind of KINDS) {
    const proxy = await (kind === 'nginx' ? startNginx(application.url) : startNode(kind, application.url))
    proxies.push(proxy)
    running.push(proxy)
  }
  const lua = script()
  const samples = new Map<string, Sample[]>()
  for (const proxy of proxies) await measure(proxy, lua, 2)
  for (let round = 1; round <= Number(values.rounds); round++) {
    for (const proxy of proxies) {
      samples.set(proxy.name, [...(samples.get(proxy.name) ?? []), await measure(proxy, lua, Number(values.seconds))])
    }
  }
  console.log(report(samples))
} finally {
  // nginx ends its workers itself; Node's processes end when nobody listens, and write their profile.
  for (const { name, children } of running) {
    for (const child of children) {
      if (name === 'nginx') child.kill('SIGTERM')
      else child.disconnect()
    }
  }
  rmSync(folder, { recursive: true, force: true })
}
