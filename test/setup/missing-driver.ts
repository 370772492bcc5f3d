/** A part of the source where no optional peer can be found, as on a machine that has not installed it. */
import { execFile } from 'node:child_process'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const SRC = fileURLToPath(new URL('../../src', import.meta.url))
const MODULES = fileURLToPath(new URL('../../node_modules', import.meta.url))

/** What `script`, a module beside the folder `part` of `src`, prints there. `installed`: packages it does find. */
export async function withoutDriver(part: 'stores' | 'transports', script: string, installed: readonly string[] = []): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-driver-'))
  try {
    for (const name of [part, 'core', 'errors.ts']) await cp(join(SRC, name), join(folder, name), { recursive: true })
    for (const name of installed) await cp(join(MODULES, name), join(folder, 'node_modules', name), { recursive: true })
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
    await writeFile(join(folder, 'main.ts'), script)
    const { stdout } = await promisify(execFile)(process.execPath, [join(folder, 'main.ts')], { cwd: folder, timeout: 30_000 })
    return stdout.trim()
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
