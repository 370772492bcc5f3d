// Child processes with a deadline, forwarded signals, and clean-up whatever way this process ends (but by SIGKILL).
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import process from 'node:process'

/** An error for people: one line that says what to do next. */
export class Failure extends Error {}

/** @param {string} text */
export function say(text) {
  process.stderr.write(`holdfast: ${text}\n`)
}

/** @type {Set<() => void>} */
const cleanups = new Set()
/** @type {Set<import('node:child_process').ChildProcess>} */
const children = new Set()

/**
 * Runs `undo` when this process ends, unless the returned function was called before (which runs it at once).
 * @param {() => void} undo
 */
export function atExit(undo) {
  cleanups.add(undo)
  return () => {
    if (cleanups.delete(undo)) undo()
  }
}

process.on('exit', () => {
  for (const child of children) killGroup(child)
  for (const undo of cleanups) undo()
})

/**
 * With what it started itself: each child leads a group of its own.
 * @param {import('node:child_process').ChildProcess} child
 */
function killGroup({ pid }) {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

/** @param {number} code */
export function exitWith(code) {
  process.exitCode = code
  process.exit()
}

/** @type {((signal: NodeJS.Signals) => void) | undefined} */
let onSignal
/** @param {NodeJS.Signals} signal */
function receive(signal) {
  if (onSignal !== undefined) onSignal(signal)
  else exitWith(128 + constants.signals[signal])
}
for (const signal of /** @type {NodeJS.Signals[]} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, () => receive(signal))

// npm may die without passing a signal on (SIGKILL): notice that it is gone. (`exec` in package.json leaves no shell between.)
const parent = process.ppid
const PARENT_LOOK_MS = 100
if (process.env.npm_lifecycle_event !== undefined) {
  const look = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(look)
    receive('SIGTERM')
  }, PARENT_LOOK_MS)
  look.unref()
}

/**
 * Runs a command to its end. With `show`, its output is passed on; else it is kept and returned.
 * @param {string} file
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, show?: boolean, deadlineMs: number, started?: (pid: number) => void }} options
 * @returns {Promise<{ code: number, output: string }>}
 */
export function run(file, args, { env = process.env, show = false, deadlineMs, started }) {
  return new Promise((resolve) => {
    const child = spawn(file, args, { env, detached: true, stdio: ['ignore', show ? 'inherit' : 'pipe', show ? 'inherit' : 'pipe'] })
    let output = ''
    children.add(child)
    if (child.pid !== undefined) started?.(child.pid)
    const timer = setTimeout(() => {
      output += `\nended after ${deadlineMs} ms`
      killGroup(child)
    }, deadlineMs)
    const keep = (/** @type {Buffer} */ chunk) => {
      output = (output + chunk.toString()).slice(-200_000)
    }
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
    const end = (/** @type {number} */ code) => {
      clearTimeout(timer)
      children.delete(child)
      resolve({ code, output })
    }
    child.once('error', (error) => {
      output += error.message
      end(127)
    })
    child.once('close', (code, signal) => end(code ?? (signal === null ? 1 : 128 + constants.signals[signal])))
  })
}

/** Signals closer together than this are one: a terminal and npm both deliver Ctrl-C, and a shell's death may follow. */
const SAME_SIGNAL_MS = 1_000

/**
 * Becomes, as far as Node can, the command: passes its output, signals and exit code on. The command runs in a process group of
 * its own, so that it hears Ctrl-C once, and holds a pipe (fd 3) that closes when this process is gone.
 * @param {string} file
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<number>}
 */
export function forwardTo(file, args, env) {
  return new Promise((resolve) => {
    const child = spawn(file, args, { env, detached: true, stdio: ['ignore', 'inherit', 'inherit', 'pipe'] })
    let lastAt = 0
    onSignal = (signal) => {
      if (Date.now() - lastAt < SAME_SIGNAL_MS) return
      lastAt = Date.now()
      child.kill(signal === 'SIGHUP' ? 'SIGTERM' : signal)
    }
    child.stdio[3]?.on('error', () => {})
    const end = (/** @type {number} */ code) => {
      onSignal = undefined
      resolve(code)
    }
    child.once('error', (error) => {
      say(`${file} did not start: ${error.message}`)
      end(1)
    })
    child.once('exit', (code, signal) => end(code ?? (signal === null ? 1 : 128 + constants.signals[signal])))
  })
}
