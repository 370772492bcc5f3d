import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const here = import.meta.dirname

/** What is measured beside Holdfast is installed once, here and not in the project. */
export function installPeers(): void {
  const stamp = join(here, 'node_modules', '.stamp')
  const wanted = createHash('sha256')
    .update(readFileSync(join(here, 'package-lock.json')))
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  console.log('Installing the peers to measure beside…')
  execFileSync('npm', ['ci', '--include=dev', '--no-fund', '--no-audit'], { cwd: here, stdio: ['ignore', 'ignore', 'inherit'] })
  writeFileSync(stamp, wanted)
}
