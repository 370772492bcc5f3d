// npm, run by a Node that its own work does not delete.
import { existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import process from 'node:process'
import { shareLock } from './lock.mjs'
import { Failure, run } from './process.mjs'

const DEADLINE_MS = 12 * 60_000

/**
 * Runs npm to its end, or throws one line that says what to do.
 * @param {readonly string[]} args
 */
export async function npm(args) {
  const cli = process.env.npm_execpath
  const own = cli !== undefined && cli.endsWith('npm-cli.js') && existsSync(cli)
  const [file, all] = own ? [hostNodes()[0] ?? process.execPath, [cli, ...args]] : ['npm', [...args]]
  const { code, output } = await run(file, all, {
    env: { ...process.env, npm_config_update_notifier: 'false' },
    deadlineMs: DEADLINE_MS,
    started: shareLock,
  })
  if (code === 0) return
  mkdirSync('.cache', { recursive: true })
  writeFileSync('.cache/npm.log', output)
  if (code === 127) throw new Failure('npm was not found: install Node.js with npm (https://nodejs.org) and run this again')
  const reason = /npm (?:error|ERR!) code (\S+)/.exec(output)?.[1] ?? `exit code ${code}`
  throw new Failure(
    `npm ${args[0]} failed (${reason}): check the network and the registry in your npm configuration and run this again; npm's output is in .cache/npm.log`,
  )
}

/** The Nodes on the PATH that do not lie in this folder. */
export function hostNodes() {
  const here = realpathSync('.')
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder.startsWith('/'))
  return folders.map((folder) => join(folder, 'node')).filter((path) => existsSync(path) && !realpathSync(path).startsWith(here))
}
