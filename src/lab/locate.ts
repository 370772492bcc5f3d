import { fileURLToPath } from 'node:url'

/** True when the lab runs from its TypeScript source rather than from the build. */
const fromSource = import.meta.url.endsWith('.ts')

/** A file of the build, `ui/shop.html` for instance. */
export function packageFile(path: string): string {
  return fileURLToPath(new URL(fromSource ? `../../dist/${path}` : `../${path}`, import.meta.url))
}

/** The entry of one of the lab's processes. */
export function processFile(name: 'server-main' | 'watchdog-main'): string {
  return fileURLToPath(new URL(`./${name}${fromSource ? '.ts' : '.js'}`, import.meta.url))
}
