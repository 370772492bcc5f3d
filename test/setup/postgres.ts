/**
 * A real PostgreSQL for tests: the newest one that Debian has installed, on 127.0.0.1, its data in a temporary folder. It refuses to run
 * as root, so as root it runs as the user `postgres`. Ended by pid: by `stop()`, else with the test process.
 */
import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from './ports.ts'
import { waitFor, within } from './servers.ts'
import type { RunningProcess } from './servers.ts'

export interface PostgresOptions {
  /** More arguments, e.g. `['-c', 'fsync=on']`; off unless they say so. */
  args?: readonly string[]
  /** Default: a free one. */
  port?: number
}

export interface RunningPostgres extends RunningProcess {
  /** `postgres://holdfast:PASSWORD@127.0.0.1:PORT/postgres`: a superuser. */
  readonly url: string
  readonly port: number
  /** Holds its data and its Unix socket, and may be read by its user. */
  readonly folder: string
  /** The same address for another user, password or database. */
  urlFor(user: string, password: string, database?: string): string
  /** Starts it again on the same port with the same data after `kill()` or `stop({ keep: true })`. */
  restart(): Promise<RunningPostgres>
  /** Fast shutdown. The data goes with it unless `keep` says otherwise. */
  stop(options?: { keep?: boolean }): Promise<void>
}

export const PASSWORD = 'geheim-p4ssw0rd'
const USER = 'holdfast'
const INSTALL = 'install it: apt-get install postgresql (Debian), or put the folder of its programs into PG_BIN'
const FAST = ['fsync=off', 'full_page_writes=off', 'autovacuum=off', 'shared_buffers=16MB', 'max_wal_size=64MB', 'max_connections=80']

const run = promisify(execFile)
const isRoot = process.getuid?.() === 0
const living = new Set<ChildProcess>()
const folders = new Set<string>()
process.on('exit', () => {
  for (const child of living) for (const pid of family(child.pid)) signal(pid, 'SIGKILL')
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
})

/** Files of an empty server: made once, and gone with the last server, because a test process may end without an `exit` event. */
let template: Promise<string> | undefined
let servers = 0

/** Starts a fresh one. The first of a process takes a second longer, because its files have to be made. */
export async function startPostgres(options: PostgresOptions = {}): Promise<RunningPostgres> {
  servers += 1
  template ??= makeTemplate()
  const data = await template
  const folder = await privateFolder('holdfast-postgres-')
  await asUser('cp', ['-r', data, join(folder, 'data')])
  return launch(options.port ?? (await freePort()), folder, options.args ?? [])
}

async function makeTemplate(): Promise<string> {
  const folder = await privateFolder('holdfast-postgres-template-')
  const passwordFile = join(folder, 'password')
  await writeFile(passwordFile, PASSWORD)
  await chmod(passwordFile, 0o644)
  const data = join(folder, 'data')
  const how = ['--pgdata', data, '--username', USER, '--auth=scram-sha-256', '--pwfile', passwordFile]
  await asUser(program('initdb'), [...how, '--encoding=UTF8', '--locale=C', '--no-sync', '--no-instructions'])
  return data
}

async function discard(folder: string): Promise<void> {
  if (!folders.delete(folder)) return
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  servers -= 1
  if (servers > 0 || template === undefined) return
  const made = dirname(await template)
  template = undefined
  folders.delete(made)
  await rm(made, { recursive: true, force: true })
}

async function privateFolder(prefix: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), prefix))
  folders.add(folder)
  if (isRoot) await run('chown', ['postgres', folder])
  return folder
}

async function launch(port: number, folder: string, args: readonly string[]): Promise<RunningPostgres> {
  const base = ['-D', join(folder, 'data'), '-p', String(port), '-k', folder, '-c', 'listen_addresses=127.0.0.1']
  for (const setting of FAST) base.push('-c', setting)
  const [command, prefix] = userCommand(program('postgres'), ['--pdeathsig', 'KILL'])
  const child = spawn(command, [...prefix, ...base, ...args], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  const server = control(child)
  const urlFor = (user: string, password: string, database = 'postgres'): string =>
    `postgres://${user}:${password}@127.0.0.1:${port}/${database}`
  const running: RunningPostgres = {
    ...server,
    port,
    folder,
    url: urlFor(USER, PASSWORD),
    urlFor,
    async stop({ keep = false } = {}): Promise<void> {
      server.resume()
      signal(child.pid, 'SIGINT')
      await within(server.exited, 10_000, 'postgres stopping').catch(server.kill)
      if (!keep) await discard(folder)
    },
    restart: () => launch(port, folder, args),
  }
  await untilUp(running)
  return running
}

/** The line in its log, not a connection: that would be one of those that tests count. */
async function untilUp(server: RunningPostgres): Promise<void> {
  let ended = false
  void server.exited.then(() => {
    ended = true
  })
  await waitFor(() => ended || server.output().includes('ready to accept connections'), 20_000, 'postgres starting').catch(() => {})
  if (!ended && server.output().includes('ready to accept connections')) return
  await server.kill()
  throw new Error(`postgres did not start\n${server.output()}`)
}

function control(child: ChildProcess): RunningProcess {
  let text = ''
  const keep = (chunk: Buffer): void => {
    text = (text + chunk.toString()).slice(-64_000)
  }
  child.stdout?.on('data', keep)
  child.stderr?.on('data', keep)
  living.add(child)
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    const end = (code: number | null, by: NodeJS.Signals | null): void => {
      living.delete(child)
      resolve({ code, signal: by })
    }
    child.once('exit', end)
    child.once('error', (error) => {
      text += `\npostgres: ${error.message}`
      end(null, null)
    })
  })
  const tellAll = (what: NodeJS.Signals): number[] => {
    // The postmaster first: a stopped one starts no further process.
    const pids = family(child.pid)
    for (const pid of pids) signal(pid, what)
    return pids
  }
  const kill = async (): Promise<void> => {
    const pids = tellAll('SIGKILL')
    await exited
    await waitFor(() => pids.every((pid) => !isRunning(pid)), 10_000, 'all of postgres gone')
  }
  return {
    pid: child.pid ?? 0,
    output: () => text,
    pause: () => void tellAll('SIGSTOP'),
    resume: () => void tellAll('SIGCONT'),
    kill,
    stop: kill,
    exited,
  }
}

/** The process and its children: each connection is one, in a process group of its own. */
function family(pid: number | undefined): number[] {
  if (pid === undefined) return []
  const children = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && parentOf(name) === pid)
  return [pid, ...children.map(Number)]
}

function parentOf(pid: string): number | undefined {
  try {
    return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  } catch {
    return undefined
  }
}

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

function signal(pid: number | undefined, what: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(pid, what)
  } catch {
    // It has ended already.
  }
}

/** Programs of the server are not in Debian's PATH. */
export function program(name: string): string {
  const root = '/usr/lib/postgresql'
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : []
  const bins = [process.env['PG_BIN'], ...versions.map((version) => join(root, version, 'bin'))]
  const found = bins.flatMap((bin) => (bin === undefined ? [] : [join(bin, name)])).find((path) => existsSync(path))
  if (found === undefined) throw new Error(`PostgreSQL's ${name} is missing: ${INSTALL}`)
  return found
}

async function asUser(command: string, args: readonly string[]): Promise<void> {
  const [file, prefix] = userCommand(command, [])
  await run(file, [...prefix, ...args], { cwd: '/' })
}

const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path))

function userCommand(command: string, options: readonly string[]): [string, string[]] {
  if (SETPRIV === undefined) return [command, []]
  const user = isRoot ? ['--reuid=postgres', '--regid=postgres', '--init-groups'] : []
  return [SETPRIV, [...user, ...options, '--', command]]
}
