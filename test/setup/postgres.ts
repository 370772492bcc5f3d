/**
 * A real PostgreSQL for tests: the newest one that Debian has installed, on 127.0.0.1, its data in a temporary folder. It refuses to run
 * as root, so as root it runs as the user `postgres`. Ended by pid: by `stop()`, else with the test process.
 */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from './ports.ts'
import { asUser, controlled, familyOf, spawnServer, untilUp } from './server-process.ts'
import type { RunningProcess } from './server-process.ts'

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
  /**
   * As if the disk were full: none of its processes can make a file longer than that (RLIMIT_FSIZE), and PostgreSQL takes the short
   * write that comes of it for a full disk. Needs neither root nor a mount.
   */
  limitFiles(bytes: number | 'unlimited'): Promise<void>
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
const folders = new Set<string>()
process.on('exit', () => {
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
  await asPostgres('cp', '-r', data, join(folder, 'data'))
  return launch(options.port ?? (await freePort()), folder, options.args ?? [])
}

async function makeTemplate(): Promise<string> {
  const folder = await privateFolder('holdfast-postgres-template-')
  const passwordFile = join(folder, 'password')
  await writeFile(passwordFile, PASSWORD)
  await chmod(passwordFile, 0o644)
  const data = join(folder, 'data')
  const how = ['--pgdata', data, '--username', USER, '--auth=scram-sha-256', '--pwfile', passwordFile]
  await asPostgres(program('initdb'), ...how, '--encoding=UTF8', '--locale=C', '--no-sync', '--no-instructions')
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
  const kind = { hasChildren: true, stopSignal: 'SIGINT', stopMs: 10_000 } as const
  const server = controlled(spawnServer([program('postgres'), ...base, ...args], folder, 'postgres'), 'postgres', kind)
  const urlFor = (user: string, password: string, database = 'postgres'): string =>
    `postgres://${user}:${password}@127.0.0.1:${port}/${database}`
  const running: RunningPostgres = {
    ...server,
    port,
    folder,
    url: urlFor(USER, PASSWORD),
    urlFor,
    async limitFiles(bytes): Promise<void> {
      for (const pid of familyOf(server.pid)) {
        await asPostgres('prlimit', '--pid', String(pid), `--fsize=${bytes}:`).catch((error: unknown) => {
          // A connection may have ended meanwhile.
          if (familyOf(server.pid).includes(pid)) throw error
        })
      }
    },
    async stop({ keep = false } = {}): Promise<void> {
      await server.stop()
      if (!keep) await discard(folder)
    },
    restart: () => launch(port, folder, args),
  }
  // The line in its log, not a connection: that would be one of those that tests count.
  await untilUp(running, 'postgres', () => running.output().includes('ready to accept connections'), 20_000)
  return running
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

async function asPostgres(...command: readonly string[]): Promise<void> {
  const [file, ...args] = asUser(command, 'postgres') as [string, ...string[]]
  await run(file, args, { cwd: '/' })
}
