/** `holdfast compare` started the way a user starts it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { CLI } from './lab-process.ts'

export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** `watch` sees the progress as it grows. With `isLeader` it is the first of a process group of its own, as in a terminal. */
export function runCompare(
  args: readonly string[],
  watch: (progress: string, child: ChildProcess) => void = () => undefined,
  isLeader = false,
): Promise<Ended> {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST_')))
  const child = spawn(process.execPath, [CLI, 'compare', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'], detached: isLeader })
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => watch((err += chunk.toString()), child))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, out, err }))
  })
}
