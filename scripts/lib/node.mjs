// Finds a Node that can run the project: the host's, else the `node` dev dependency, else one fetched into .cache/node.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { delimiter, dirname, resolve } from 'node:path'
import process from 'node:process'
import { hostNodes, npm } from './npm.mjs'
import { Failure, say } from './process.mjs'

const OLDEST = [22, 19]
const PREFIX = '.cache/node'

/** @returns {Promise<string>} */
export async function findNode() {
  const name = `node-${process.platform}-${process.arch}`
  const fetched = resolve(PREFIX, 'node_modules', name, 'bin/node')
  const found = [process.execPath, ...hostNodes(), resolve('node_modules/node/bin/node'), fetched].find(isNewEnough)
  if (found !== undefined) return found
  const version = lockedVersion()
  say(`fetching Node ${version} into ${PREFIX} (npm did not run the install script of the "node" package) …`)
  await npm(['i', '--no-save', '--no-audit', '--no-fund', '--prefix', PREFIX, `${name}@${version}`])
  if (isNewEnough(fetched)) return fetched
  throw new Failure(
    `no Node ${OLDEST.join('.')} or newer for ${process.platform}-${process.arch}: install Node 24 (https://nodejs.org) and run this again`,
  )
}

/**
 * Programs started from here find this Node first.
 * @param {string} node
 * @returns {NodeJS.ProcessEnv}
 */
export function environmentFor(node) {
  return { ...process.env, PATH: [dirname(node), process.env.PATH ?? ''].join(delimiter) }
}

/** @param {string} path */
function isNewEnough(path) {
  if (!existsSync(path)) return false
  try {
    const version = execFileSync(path, ['--version'], { encoding: 'utf8', timeout: 10_000, stdio: ['ignore', 'pipe', 'ignore'] })
    const [major = 0, minor = 0] = version.slice(1).split('.').map(Number)
    return major > (OLDEST[0] ?? 0) || (major === OLDEST[0] && minor >= (OLDEST[1] ?? 0))
  } catch {
    return false
  }
}

function lockedVersion() {
  const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'))
  return String(lock.packages['node_modules/node']?.version ?? '24')
}
