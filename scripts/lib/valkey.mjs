// Debian 12 has Valkey in its backports only: from the machine's own mirror, for this one installation.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const SOURCES = '/etc/apt/sources.list.d'

/**
 * @param {(args: readonly string[]) => Promise<{ code: number | null, output: string }>} apt
 * @returns {Promise<{ code: number | null, output: string }>}
 */
export async function installValkey(apt) {
  const stanzas = backports()
  if (stanzas === '') return { code: 1, output: 'E: no source of Debian packages found to derive its backports from' }
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-apt-'))
  try {
    // apt reads them as a user of its own.
    chmodSync(folder, 0o755)
    for (const name of ['parts', 'lists/partial']) mkdirSync(join(folder, name), { recursive: true })
    writeFileSync(join(folder, 'parts', 'backports.sources'), stanzas)
    const only = [
      ...['-o', `Dir::Etc::SourceParts=${join(folder, 'parts')}`, '-o', 'Dir::Etc::SourceList=/dev/null'],
      ...['-o', `Dir::State::Lists=${join(folder, 'lists')}`, '-o', 'DPkg::Lock::Timeout=120', '-o', 'Acquire::Retries=2'],
    ]
    const updated = await apt(['update', ...only])
    return updated.code === 0 ? await apt(['install', '-y', '--no-install-recommends', ...only, 'valkey-server']) : updated
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The machine's own sources, with the backports beside the release. */
function backports() {
  const release = /^VERSION_CODENAME=(\w+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
  const files = existsSync(SOURCES) ? readdirSync(SOURCES).filter((name) => name.endsWith('.sources')) : []
  const suites = new RegExp(`^Suites:(?=.*\\s${release}(\\s|$)).*$`, 'm')
  return files
    .flatMap((name) => readFileSync(join(SOURCES, name), 'utf8').split(/\n\s*\n/))
    .filter((stanza) => suites.test(stanza) && /^Types:.*\bdeb\b/m.test(stanza))
    .map((stanza) => stanza.replace(suites, `Suites: ${release} ${release}-backports`))
    .join('\n\n')
}
