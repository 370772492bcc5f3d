// Each build lies in a folder named after its sources, .cache/build/HASH, and stays while a process runs from it.
import { mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import process from 'node:process'
import { atExit } from './process.mjs'

const BUILDS = '.cache/build'
const KEPT = 2

/** The folder that the last build made or found. */
export function latestBuild() {
  return resolve(BUILDS, readFileSync(`${BUILDS}/latest`, 'utf8').trim())
}

/**
 * Keeps the folder from `removeOldBuilds` until this process ends.
 * @param {string} folder
 */
export function markInUse(folder) {
  const mark = `${folder}/used-by/${process.pid}`
  mkdirSync(`${folder}/used-by`, { recursive: true })
  writeFileSync(mark, '')
  atExit(() => rmSync(mark, { force: true }))
}

/**
 * Removes all but the newest builds and those in use.
 * @param {string} latest
 */
export function removeOldBuilds(latest) {
  const folders = readdirSync(BUILDS, { withFileTypes: true }).filter((entry) => entry.isDirectory() && entry.name !== latest)
  const unused = folders.map(({ name }) => `${BUILDS}/${name}`).filter((folder) => !isInUse(folder))
  const oldestLast = unused.map((folder) => ({ folder, at: statSync(folder).mtimeMs })).toSorted((a, b) => b.at - a.at)
  for (const { folder } of oldestLast.slice(KEPT - 1)) rmSync(folder, { recursive: true, force: true })
}

/** @param {string} folder */
function isInUse(folder) {
  let pids = /** @type {string[]} */ ([])
  try {
    pids = readdirSync(`${folder}/used-by`)
  } catch {
    // Nobody ever ran from it.
  }
  return pids.some((pid) => {
    try {
      process.kill(Number(pid), 0)
      return true
    } catch (error) {
      return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM'
    }
  })
}
