// One set-up at a time: a lock folder that appears whole (a rename), with its owner's process ids inside.
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import process from 'node:process'
import { Failure, atExit, say } from './process.mjs'

const LOCK = '.cache/setup.lock'
const DEADLINE_MS = 15 * 60_000
const LOOK_EVERY_MS = 200

/**
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(work) {
  await acquire()
  const release = atExit(() => {
    if (owner()?.pids.includes(process.pid)) rmSync(LOCK, { recursive: true, force: true })
  })
  try {
    return await work()
  } finally {
    release()
  }
}

/**
 * Adds a child to the owners: should this process be killed, the lock stays held until the child has ended too.
 * @param {number} pid
 */
export function shareLock(pid) {
  const held = owner()
  if (held !== undefined) writeOwner(LOCK, [...held.pids, pid])
}

async function acquire() {
  const until = Date.now() + DEADLINE_MS
  let said = false
  while (!tryAcquire()) {
    const held = owner()
    if (held !== undefined && !isAlive(held)) {
      breakLock(held)
      continue
    }
    if (!said) say(`another set-up is under way here (process ${held?.pids[0] ?? 'unknown'}): waiting for it`)
    said = true
    if (Date.now() > until) throw new Failure(`waited 15 minutes for another set-up: end it, or remove ${LOCK}, and run this again`)
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))
  }
}

function tryAcquire() {
  mkdirSync('.cache', { recursive: true })
  const made = mkdtempSync('.cache/lock-')
  writeOwner(made, [process.pid])
  try {
    // Fails when the lock exists: a folder that is not empty is not replaced.
    renameSync(made, LOCK)
    return true
  } catch (error) {
    rmSync(made, { recursive: true, force: true })
    const code = /** @type {NodeJS.ErrnoException} */ (error).code
    if (code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'EPERM') return false
    throw new Failure(`cannot write to .cache (${code}): make this folder writable and run this again`)
  }
}

/** @typedef {{ host: string, pids: number[], born: string }} Owner */

/**
 * @param {string} folder
 * @param {number[]} pids
 */
function writeOwner(folder, pids) {
  const next = `${folder}/owner.${process.pid}`
  writeFileSync(next, JSON.stringify({ host: hostname(), pids, born: bornAt(process.pid) }))
  renameSync(next, `${folder}/owner`)
}

/** @returns {Owner | undefined} */
function owner(folder = LOCK) {
  try {
    return JSON.parse(readFileSync(`${folder}/owner`, 'utf8'))
  } catch {
    return undefined
  }
}

/**
 * On another host (a shared folder) nothing can be known: it counts as alive.
 * @param {Owner} held
 */
function isAlive({ host, pids, born }) {
  if (host !== hostname()) return true
  return pids.some((pid, index) => exists(pid) && (index > 0 || born === '' || bornAt(pid) === '' || bornAt(pid) === born))
}

/** @param {number} pid */
function exists(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM'
  }
}

/**
 * When a process began, by the kernel's count: process ids are used again. Empty where /proc does not tell.
 * @param {number} pid
 */
function bornAt(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}

/**
 * Takes a dead owner's lock away. Of several that try, one rename wins; should it have caught a new owner's lock, it is put back.
 * @param {Owner} dead
 */
function breakLock(dead) {
  const aside = `.cache/lock-stale-${process.pid}`
  try {
    renameSync(LOCK, aside)
  } catch {
    return
  }
  const caught = owner(aside)
  if (caught !== undefined && JSON.stringify(caught) !== JSON.stringify(dead)) {
    try {
      renameSync(aside, LOCK)
      return
    } catch {
      // A third one has the lock by now.
    }
  }
  rmSync(aside, { recursive: true, force: true })
}
