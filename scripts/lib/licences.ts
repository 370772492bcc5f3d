/** The licence texts of what is bundled. */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

interface Manifest {
  name: string
  version: string
  license?: string
  dependencies?: Record<string, string>
}

const manifest = (folder: string): Manifest => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest

/** Markdown with name, version and licence text of each package; throws when a licence is missing. */
export function thirdPartyNotice(folders: readonly string[]): string {
  const parts = [...new Set(folders)].map((folder) => {
    const { name, version, license = 'unknown licence' } = manifest(folder)
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry))
    const text = file === undefined ? `Licence: ${license} (the package carries no text).` : readFileSync(join(folder, file), 'utf8').trim()
    return `## ${name} ${version} (${license})\n\n${text.replaceAll(/^/gm, '    ')}\n`
  })
  return `# Third-party software in this package\n\nParts of these packages are bundled into files of \`dist\`.\n\n${parts.join('\n')}`
}

/** Packages that the pages import, with what those depend on: Vite bundles them into `dist/ui`. */
export function pagePackages(): string[] {
  if (!existsSync('ui')) return []
  const found = new Set<string>()
  const add = (name: string): void => {
    const folder = join('node_modules', name)
    if (found.has(folder) || !existsSync(folder)) return
    found.add(folder)
    for (const dependency of Object.keys(manifest(folder).dependencies ?? {})) add(dependency)
  }
  for (const file of readdirSync('ui', { recursive: true, encoding: 'utf8' })) {
    if (!/\.[jt]sx?$/.test(file) || /config\.|node_modules/.test(file)) continue
    const text = readFileSync(join('ui', file), 'utf8')
    for (const [, name] of text.matchAll(/^\s*(?:import|export)[^'"]*['"]((?:@[\w.-]+\/)?[\w.-]+)[^'"]*['"]/gm))
      if (name !== undefined && !name.startsWith('.')) add(name)
  }
  return [...found].sort()
}
