import { serverColour } from '../shared/server-colour.ts'
import { bytes } from './format.ts'
import { choose, chosen, type Listed, listed, type Located, located } from './sessions.ts'

const nameOf = ({ key, userId }: Listed): string => `${key.slice(0, 8)} · ${userId ?? 'not logged in'}`

export function Whereabouts() {
  const key = chosen.value
  const place = located.value
  const isListed = key === undefined || listed.value.some((one) => one.key === key)
  return (
    <section class="panel block where" aria-label="One session">
      <h2>Where does one session live?</h2>
      <div class="row fill">
        <select
          aria-label="Session"
          data-session={key ?? ''}
          value={key ?? ''}
          onChange={(event) => choose(event.currentTarget.value === '' ? undefined : event.currentTarget.value)}
        >
          <option value="">{listed.value.length === 0 ? 'No sessions yet' : 'Choose a session'}</option>
          {!isListed && <option value={key}>{`${key?.slice(0, 8)} · ${place?.fate ?? ''}`}</option>}
          {listed.value.map((one) => (
            <option key={one.key} value={one.key}>
              {nameOf(one)}
            </option>
          ))}
        </select>
        {key !== undefined && (
          <button type="button" onClick={() => choose(undefined)}>
            Clear
          </button>
        )}
      </div>
      {place === undefined ? (
        <p class="soft small">
          {key === undefined ? 'The cluster shows who holds it, and follows it when servers go.' : 'Asking the servers…'}
        </p>
      ) : (
        <Place place={place} />
      )}
    </section>
  )
}

function Place({ place }: { place: Located }) {
  const { holders, inJar, inStore, jarBytes, silent } = place
  return (
    <ul class="places" data-fate={place.fate} data-holders={holders.map(({ node, role }) => `${node}:${role}`).join(' ')}>
      {holders.map(({ node, role }) => (
        <li key={node}>
          <span class={`chip ${serverColour(node)}`}>{node}</span> {ROLES[role]}
        </li>
      ))}
      {silent.length > 0 && <li>{silent.join(', ')} did not answer.</li>}
      {inStore !== null && <li>{inStore ? 'The store has it. No server needs to.' : 'The store does not have it.'}</li>}
      {inJar && <li>The visitor’s own browser has it, sealed in cookies. No server holds it.</li>}
      {place.fate === 'live' && (
        <li class="soft">
          {jarBytes === null ? 'The visitor’s cookies: ' : `The visitor’s cookies, ${bytes(jarBytes)}: `}
          {inJar ? 'the session itself.' : 'a signed id and what was last seen.'}
        </li>
      )}
      {place.fate !== 'live' && <li class={place.fate === 'lost' ? 'gone' : ''}>{FATES[place.fate]}</li>}
    </ul>
  )
}

const ROLES = {
  owner: 'owns it: its visitor is brought here.',
  backup: 'keeps a backup.',
  copy: 'has a copy.',
}
const FATES = {
  ended: 'It was ended: logged out, replaced at a log-in, revoked or expired.',
  lost: 'It was lost: its visitor came back and nobody knew it.',
  unknown: 'This cluster knows nothing of it.',
}
