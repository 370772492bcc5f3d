import { render } from 'preact'
import { Account } from './account.tsx'
import { Banner } from './banner.tsx'
import { Cart } from './cart.tsx'
import { Catalogue } from './catalogue.tsx'
import { ServedBy } from './served-by.tsx'
import { load } from './session.ts'

function Shop() {
  const control = document.querySelector<HTMLMetaElement>('meta[name="lab-control"]')?.content
  return (
    <>
      <header class="top">
        <h1>
          Tidewater <span>Supply</span>
        </h1>
        {control?.startsWith('http') === true && <a href={control}>Watch the cluster</a>}
      </header>
      <main>
        <Banner />
        <div class="columns">
          <Catalogue />
          <div class="side">
            <Account />
            <Cart />
            <ServedBy />
          </div>
        </div>
      </main>
      <footer class="soft small">A shop that sells nothing. It shows what happens to your session when servers come and go.</footer>
    </>
  )
}

render(<Shop />, document.querySelector('#app') as Element)
void load()
