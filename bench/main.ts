/**
 * `npm run bench [-- --rounds N --seconds S --only NAME,NAME --json FILE --prof FOLDER]`: CPU per request over the bare framework,
 * for each strategy and the peers, in interleaved rounds; medians. Absolute figures swing with the machine: read the ratios.
 * `--prof` writes a CPU profile of every server; `--pipelined 1` sends one request at a time on each connection, 8 being the default.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { freePort } from '../test/setup/ports.ts'
import { type CookieBytes, cookieBytes, CookieJar } from './cookie-bytes.ts'
import { cpuSeconds, type Load, load, rotatingJars, userSeconds } from './load.ts'
import { installPeers } from './peers.ts'
import { type Figures, type Measured, median, report } from './report.ts'
import { perRequest, type PerRequest } from './store-counts.ts'
import { type BenchStore, startStores, type StoreKind } from './stores.ts'
import { VARIANTS, type VariantOptions } from './variants.ts'

/** More than there are requests under way: visitors do not write several times at once. */
const SESSIONS = 1_024
const SEEDED_AT_ONCE = 16
const CONNECTIONS = 32
const READY_MS = 30_000
const KINDS = ['read', 'write'] as const

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    only: { type: 'string' },
    json: { type: 'string' },
    prof: { type: 'string' },
    pipelined: { type: 'string', default: '8' },
  },
})

interface Running {
  readonly name: string
  readonly url: string
  readonly store: BenchStore | undefined
  /** A wrk script of each kind: what writes move on must not be what reads are measured on. */
  readonly scripts: Readonly<Record<(typeof KINDS)[number], string>>
  readonly children: ChildProcess[]
  readonly cookies: CookieBytes
}

const here = import.meta.dirname
const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))

async function startServer(name: string, options: VariantOptions): Promise<{ child: ChildProcess; port: number }> {
  const execArgv =
    values.prof === undefined
      ? []
      : ['--cpu-prof', `--cpu-prof-dir=${values.prof}`, `--cpu-prof-name=${name.replaceAll(/\W+/g, '-')}-${options.node}.cpuprofile`]
  const child = fork(join(here, 'server.ts'), [name, JSON.stringify(options)], {
    env: { ...process.env, NODE_ENV: 'production' },
    execArgv,
  })
  const port = await new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${name} was not ready after ${READY_MS} ms`)), READY_MS)
    child.once('message', (message: { port: number }) => resolve((clearTimeout(timer), message.port)))
    child.once('exit', (code) => reject(new Error(`${name} ended with ${String(code)} before it was ready`)))
  })
  return { child, port }
}

async function start(name: string, stores: ReadonlyMap<StoreKind, BenchStore>): Promise<Running> {
  const { servers, store: storeKind } = VARIANTS[name] as { servers: number; store?: StoreKind }
  const store = storeKind === undefined ? undefined : stores.get(storeKind)
  const meshPorts = await Promise.all(Array.from({ length: servers }, () => freePort()))
  const peers = meshPorts.map((port) => `127.0.0.1:${port}`)
  const started = await Promise.all(
    meshPorts.map((meshPort, index) => startServer(name, { storeUrl: store?.url ?? '', port: 0, meshPort, peers, node: `n${index + 1}` })),
  )
  const url = `http://127.0.0.1:${started[0]?.port}`
  const scripts = { read: '', write: '' }
  for (const kind of KINDS) {
    scripts[kind] = join(folder, `${name.replaceAll(/\W+/g, '-')}-${kind}.lua`)
    writeFileSync(scripts[kind], rotatingJars(await seed(url), Number(values.pipelined)))
  }
  const children = started.map(({ child }) => child)
  return { name, url, scripts, children, store, cookies: await cookieBytes(url) }
}

/** What all servers of the variant, and what its store, have spent by now. */
function spent({ children, store }: Running, of: (pid: number) => number): { all: number; store: number } {
  const sum = (pids: readonly number[]): number => pids.reduce((total, pid) => total + of(pid), 0)
  const byStore = sum(store?.pids() ?? [])
  return { all: sum(children.map((child) => child.pid as number)) + byStore, store: byStore }
}

/** Jars in steady state: seeded, then used twice, taking what each answer sets. */
async function seed(url: string): Promise<string[]> {
  const jars: string[] = []
  while (jars.length < SESSIONS) jars.push(...(await Promise.all(Array.from({ length: SEEDED_AT_ONCE }, () => seedOne(url)))))
  return jars
}

async function seedOne(url: string): Promise<string> {
  const jar = new CookieJar()
  for (const path of ['/seed', '/read', '/write', '/read']) await jar.visit(url + path)
  return jar.header()
}

interface Sample extends Load {
  readonly cpu: number
  readonly user: number
  readonly storeCpu: number
  readonly store: PerRequest | undefined
}

async function measure(running: Running, kind: (typeof KINDS)[number], seconds: number): Promise<Sample> {
  const countsBefore = await running.store?.counts?.()
  const before = { cpu: spent(running, cpuSeconds), user: spent(running, userSeconds) }
  const result = await load(`${running.url}/${kind}`, running.scripts[kind], seconds, CONNECTIONS)
  const after = { cpu: spent(running, cpuSeconds), user: spent(running, userSeconds) }
  const [cpu, user, storeCpu] = [after.cpu.all - before.cpu.all, after.user.all - before.user.all, after.cpu.store - before.cpu.store]
  if (result.failed > 0) throw new Error(`${running.name} ${kind}: ${result.failed} requests failed`)
  const counts = await running.store?.counts?.()
  const store = countsBefore && counts && perRequest(countsBefore, counts, result.requests, result.seconds)
  return { ...result, cpu, user, storeCpu, store }
}

installPeers()
const only = values.only?.split(',') ?? Object.keys(VARIANTS)
const names = [...new Set(['bare', 'floor', ...only.flatMap((name) => [VARIANTS[name]?.bare ?? 'bare', name])])]
const unknown = names.filter((name) => !Object.hasOwn(VARIANTS, name))
if (unknown.length > 0) throw new Error(`no variant ${unknown.join(', ')}: choose from ${Object.keys(VARIANTS).join(', ')}`)
const stores = await startStores(new Set(names.flatMap((name) => VARIANTS[name]?.store ?? [])))
const all: Running[] = []
try {
  for (const name of names) all.push(await start(name, stores))
  const samples = new Map<string, Figures[]>()
  const rounds = Number(values.rounds)
  for (const running of all) for (const kind of KINDS) await measure(running, kind, 2)
  for (let round = 1; round <= rounds; round++) {
    console.log(`Round ${round} of ${rounds}…`)
    for (const kind of KINDS) {
      for (const running of all) {
        const { cpu, user, storeCpu, requests, seconds, store } = await measure(running, kind, Number(values.seconds))
        const key = `${running.name} ${kind}`
        samples.set(key, [
          ...(samples.get(key) ?? []),
          {
            cpuMicros: (cpu / requests) * 1e6,
            userMicros: (user / requests) * 1e6,
            storeMicros: (storeCpu / requests) * 1e6,
            perSecond: requests / seconds,
            store,
          },
        ])
      }
    }
  }
  const figures = (name: string, kind: string): Figures => {
    const taken = samples.get(`${name} ${kind}`) ?? []
    const middle = (pick: 'cpuMicros' | 'userMicros' | 'storeMicros' | 'perSecond'): number => median(taken.map((sample) => sample[pick]))
    return {
      cpuMicros: middle('cpuMicros'),
      userMicros: middle('userMicros'),
      storeMicros: middle('storeMicros'),
      perSecond: middle('perSecond'),
      store: taken.at(-1)?.store,
    }
  }
  const measured: Measured[] = all.map(({ name, cookies }) => ({
    name,
    read: figures(name, 'read'),
    write: figures(name, 'write'),
    cookies,
  }))
  console.log(report(measured))
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify({ rounds, seconds: Number(values.seconds), measured }, null, 2))
} finally {
  // Disconnected, a server ends and writes its profile.
  for (const running of all)
    for (const child of running.children)
      if (values.prof === undefined) child.kill('SIGKILL')
      else child.disconnect()
  for (const store of stores.values()) await store.stop()
  rmSync(folder, { recursive: true, force: true })
}
