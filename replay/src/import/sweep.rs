//! Documents from an archive: each is read and imported, and all stay where they are.

use millstream_processor::outcome::{Fault, Verdict};
use millstream_processor::source::failure::ForeignDocument;
use millstream_processor::source::failure::archive::{Archive, Listed};

use super::{ImportError, Imported, Importer};

/// The largest document that is read. An event has 6 MB at most, and half as much again where it stands as text in text.
const LARGEST: u64 = 32 << 20;

impl Importer<'_> {
    /// Imports every document of an archive, and tells what came of it. Done again, it changes nothing.
    ///
    /// What cannot be read or understood is told and left alone, and the rest goes on. Where a service does not answer
    /// even after all retries it is not asked for every document: that ends it, and so does a list that cannot be read.
    pub async fn sweep(
        &self,
        archive: &dyn Archive,
        tell: &mut (dyn FnMut(&str, &Result<Imported, ImportError>) + Send),
    ) -> Result<(), Fault> {
        let mut from = None;
        loop {
            let page = self.desk.retried("list documents", || archive.page(from.clone())).await?;
            for listed in &page.documents {
                let imported = self.import_listed(archive, listed).await;
                tell(&listed.name, &imported);
                if let Err(ImportError::Fault(fault)) = &imported
                    && fault.kind.verdict() == Verdict::Retry
                {
                    return Err(fault.clone());
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    async fn import_listed(&self, archive: &dyn Archive, listed: &Listed) -> Result<Imported, ImportError> {
        if listed.size > LARGEST {
            let what = format!("it has {} bytes, more than any document", listed.size);
            return Err(ForeignDocument::Shape(what).into());
        }
        let read = || archive.read(&listed.name);
        let bytes = self.desk.retried("read a document", read).await?;
        let text =
            String::from_utf8(bytes).map_err(|_| ForeignDocument::NotJson("it is not text".to_owned()))?;
        self.import(&text).await
    }
}
