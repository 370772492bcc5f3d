/**
 * A real MariaDB for tests, on 127.0.0.1, its data in a temporary folder. As root it runs as root: a change of user would take from it the
 * signal that ends it with the test process. Ended by pid: by `stop()`, else with the test process.
 */
import { execFile } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { cp, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { freePort } from './ports.ts'
import { controlled, spawnServer, untilUp } from './server-process.ts'
import type { RunningProcess } from './server-process.ts'

export interface MariaDbOptions {
  /** More arguments, e.g. `['--read-only=1']`. */
  args?: readonly string[]
  /** Default: a free one. */
  port?: number
}

export interface RunningMariaDb extends RunningProcess {
  /** `mysql://holdfast:PASSWORD@127.0.0.1:PORT/holdfast`: may do everything. */
  readonly url: string
  readonly port: number
  /** Holds its data and its Unix socket. */
  readonly folder: string
  /** The same address for another user, password or database. */
  urlFor(user: string, password: string, database?: string): string
  /** Starts it again on the same port with the same data after `kill()` or `stop({ keep: true })`; `args` replace those it had. */
  restart(args?: readonly string[]): Promise<RunningMariaDb>
  /** Orderly shutdown. The data goes with it unless `keep` says otherwise. */
  stop(options?: { keep?: boolean }): Promise<void>
}

export const PASSWORD = 'geheim-p4ssw0rd'
const USER = 'holdfast'
const INSTALL = 'install it: apt-get install mariadb-server (Debian)'
/** What it acknowledged survives SIGKILL, not a power failure. */
const FAST = [
  '--innodb-buffer-pool-size=16M',
  '--innodb-log-file-size=8M',
  '--innodb-flush-log-at-trx-commit=2',
  '--innodb-flush-method=nosync',
  '--performance-schema=OFF',
  '--skip-name-resolve',
  '--skip-log-bin',
]
const FIRST_SQL = `CREATE DATABASE IF NOT EXISTS ${USER};
CREATE USER IF NOT EXISTS '${USER}'@'%' IDENTIFIED BY '${PASSWORD}';
GRANT ALL ON *.* TO '${USER}'@'%' WITH GRANT OPTION;
`

const CACHE = fileURLToPath(new URL('../../.cache/mariadb', import.meta.url))
const run = promisify(execFile)
const asRoot = process.getuid?.() === 0 ? ['--user=root'] : []
const folders = new Set<string>()
process.on('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
})

let template: Promise<string> | undefined

/** Starts a fresh one. The very first takes some seconds longer, because its files have to be made. */
export async function startMariaDb(options: MariaDbOptions = {}): Promise<RunningMariaDb> {
  template ??= findTemplate()
  const made = await template
  const folder = await newFolder('holdfast-mariadb-')
  await cp(made, join(folder, 'data'), { recursive: true })
  await writeFile(join(folder, 'first.sql'), FIRST_SQL)
  return launch(options.port ?? (await freePort()), folder, options.args ?? [])
}

/** Kept in the project's cache, for each version of the server: making it takes seconds. */
async function findTemplate(): Promise<string> {
  const { stdout } = await run(program('mariadbd'), ['--no-defaults', '--version'])
  const version = /\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? 'unknown'
  const kept = join(CACHE, version)
  if (existsSync(kept)) return kept
  await mkdir(CACHE, { recursive: true })
  const data = await mkdtemp(join(CACHE, 'making-'))
  folders.add(data)
  const how = ['--no-defaults', ...asRoot, `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db']
  const small = ['--innodb-buffer-pool-size=16M', '--innodb-log-file-size=8M', '--innodb-flush-method=nosync']
  await run(program('mariadb-install-db'), [...how, ...small])
  // Whole or not at all; another process may have been quicker.
  await rename(data, kept).catch(() => rm(data, { recursive: true, force: true }))
  folders.delete(data)
  return kept
}

async function newFolder(prefix: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), prefix))
  folders.add(folder)
  return folder
}

async function launch(port: number, folder: string, args: readonly string[]): Promise<RunningMariaDb> {
  const place = [`--datadir=${join(folder, 'data')}`, `--socket=${join(folder, 'socket')}`, `--pid-file=${join(folder, 'pid')}`]
  const base = [
    '--no-defaults',
    ...asRoot,
    ...place,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--init-file=${join(folder, 'first.sql')}`,
  ]
  const command = [program('mariadbd'), ...base, ...FAST, ...args]
  const server = controlled(spawnServer(command, folder), 'mariadbd', { stopMs: 10_000 })
  const urlFor = (user: string, password: string, database = USER): string => `mysql://${user}:${password}@127.0.0.1:${port}/${database}`
  const running: RunningMariaDb = {
    ...server,
    port,
    folder,
    url: urlFor(USER, PASSWORD),
    urlFor,
    async stop({ keep = false } = {}): Promise<void> {
      await server.stop()
      if (keep) return
      folders.delete(folder)
      await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    },
    restart: (other = args) => launch(port, folder, other),
  }
  // The line in its log, not a connection: that would be one of those that tests count.
  await untilUp(running, 'mariadbd', () => running.output().includes('ready for connections'), 20_000)
  return running
}

/** The server is not in everybody's PATH. */
function program(name: string): string {
  const places = [
    '/usr/sbin',
    '/usr/bin',
    '/usr/local/sbin',
    '/usr/local/bin',
    '/opt/homebrew/bin',
    ...(process.env['PATH'] ?? '').split(':'),
  ]
  const found = places.map((folder) => join(folder, name)).find((path) => existsSync(path))
  if (found === undefined) throw new Error(`${name} is missing: ${INSTALL}`)
  return found
}
