/**
 * `npm run bench [-- --rounds N --seconds S --only NAME,NAME --json FILE]`: CPU per request over the bare framework, for each
 * strategy and the peers, in interleaved rounds; medians. Absolute figures swing with the machine: read the ratios.
 */
import { execFileSync, fork, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { freePort } from '../test/setup/ports.ts'
import { startRedis } from '../test/setup/servers.ts'
import { cpuSeconds, type Load, load, rotatingJars, userSeconds } from './load.ts'
import { type Figures, type Measured, median, report } from './report.ts'
import { VARIANTS, type VariantOptions } from './variants.ts'

const SESSIONS = 64
const CONNECTIONS = 32
const READY_MS = 30_000
const KINDS = ['read', 'write'] as const

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    only: { type: 'string' },
    json: { type: 'string' },
  },
})

interface Running {
  readonly name: string
  readonly url: string
  readonly pids: number[]
  /** A wrk script of each kind: what writes move on must not be what reads are measured on. */
  readonly scripts: Readonly<Record<(typeof KINDS)[number], string>>
  readonly children: ChildProcess[]
}

const here = import.meta.dirname
const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))

function installPeers(): void {
  const stamp = join(here, 'node_modules', '.stamp')
  const wanted = createHash('sha256')
    .update(readFileSync(join(here, 'package-lock.json')))
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  console.log('Installing the peers to measure beside…')
  execFileSync('npm', ['ci', '--include=dev', '--no-fund', '--no-audit'], { cwd: here, stdio: ['ignore', 'ignore', 'inherit'] })
  writeFileSync(stamp, wanted)
}

async function startServer(name: string, options: VariantOptions): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(join(here, 'server.ts'), [name, JSON.stringify(options)], { env: { ...process.env, NODE_ENV: 'production' } })
  const port = await new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${name} was not ready after ${READY_MS} ms`)), READY_MS)
    child.once('message', (message: { port: number }) => resolve((clearTimeout(timer), message.port)))
    child.once('exit', (code) => reject(new Error(`${name} ended with ${String(code)} before it was ready`)))
  })
  return { child, port }
}

async function start(name: string, redis: { url: string; pid: number }): Promise<Running> {
  const { servers, redis: usesRedis } = VARIANTS[name] as { servers: number; redis: boolean }
  const meshPorts = await Promise.all(Array.from({ length: servers }, () => freePort()))
  const peers = meshPorts.map((port) => `127.0.0.1:${port}`)
  const started = await Promise.all(
    meshPorts.map((meshPort, index) => startServer(name, { redisUrl: redis.url, port: 0, meshPort, peers, node: `n${index + 1}` })),
  )
  const url = `http://127.0.0.1:${started[0]?.port}`
  const scripts = { read: '', write: '' }
  for (const kind of KINDS) {
    scripts[kind] = join(folder, `${name.replaceAll(/\W+/g, '-')}-${kind}.lua`)
    writeFileSync(scripts[kind], rotatingJars(await seed(url)))
  }
  const children = started.map(({ child }) => child)
  return {
    name,
    url,
    scripts,
    children,
    pids: [...children.map((child) => child.pid as number), ...(usesRedis ? [redis.pid] : [])],
  }
}

/** Jars in steady state: seeded, then used twice, taking what each answer sets. */
async function seed(url: string): Promise<string[]> {
  const jars: string[] = []
  for (let index = 0; index < SESSIONS; index++) {
    const jar = new Map<string, string>()
    for (const path of ['/seed', '/read', '/write', '/read']) {
      const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
      const response = await fetch(url + path, { headers: cookie === '' ? {} : { cookie } })
      if (!response.ok) throw new Error(`${url}${path} answered ${response.status}: ${await response.text()}`)
      await response.arrayBuffer()
      for (const text of response.headers.getSetCookie()) {
        const [pair = ''] = text.split(';')
        const equals = pair.indexOf('=')
        if (/max-age=0/i.test(text)) jar.delete(pair.slice(0, equals))
        else jar.set(pair.slice(0, equals), pair.slice(equals + 1))
      }
    }
    jars.push([...jar].map(([name, value]) => `${name}=${value}`).join('; '))
  }
  return jars
}

async function measure(running: Running, kind: (typeof KINDS)[number], seconds: number): Promise<Load & { cpu: number; user: number }> {
  const spent = (of: (pid: number) => number): number => running.pids.reduce((sum, pid) => sum + of(pid), 0)
  const before = { cpu: spent(cpuSeconds), user: spent(userSeconds) }
  const result = await load(`${running.url}/${kind}`, running.scripts[kind], seconds, CONNECTIONS)
  const cpu = spent(cpuSeconds) - before.cpu
  const user = spent(userSeconds) - before.user
  if (result.failed > 0) throw new Error(`${running.name} ${kind}: ${result.failed} requests failed`)
  return { ...result, cpu, user }
}

installPeers()
const names = values.only === undefined ? Object.keys(VARIANTS) : ['bare', 'floor', ...values.only.split(',')]
const redis = await startRedis()
const all: Running[] = []
try {
  for (const name of names) all.push(await start(name, redis))
  const samples = new Map<string, Figures[]>()
  const rounds = Number(values.rounds)
  for (const running of all) for (const kind of KINDS) await measure(running, kind, 2)
  for (let round = 1; round <= rounds; round++) {
    console.log(`Round ${round} of ${rounds}…`)
    for (const kind of KINDS) {
      for (const running of all) {
        const { cpu, user, requests, seconds } = await measure(running, kind, Number(values.seconds))
        const key = `${running.name} ${kind}`
        samples.set(key, [
          ...(samples.get(key) ?? []),
          { cpuMicros: (cpu / requests) * 1e6, userMicros: (user / requests) * 1e6, perSecond: requests / seconds },
        ])
      }
    }
  }
  const figures = (name: string, kind: string): Figures => {
    const taken = samples.get(`${name} ${kind}`) ?? []
    const middle = (pick: keyof Figures): number => median(taken.map((sample) => sample[pick]))
    return { cpuMicros: middle('cpuMicros'), userMicros: middle('userMicros'), perSecond: middle('perSecond') }
  }
  const measured: Measured[] = names.map((name) => ({ name, read: figures(name, 'read'), write: figures(name, 'write') }))
  console.log(report(measured))
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify({ rounds, seconds: Number(values.seconds), measured }, null, 2))
} finally {
  for (const running of all) for (const child of running.children) child.kill('SIGKILL')
  await redis.stop()
  rmSync(folder, { recursive: true, force: true })
}
